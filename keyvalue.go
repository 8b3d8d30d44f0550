package skerry

import "time"

// KeyValue is one entry of the key/value store that users see. It is immutable.
type KeyValue struct {
	Key   string
	Value []byte
	Flags uint64 // the user's own
	// Session holds the entry's lock; empty: nobody does.
	Session string
	// LockIndex counts how often the lock was taken. With the key and the session
	// it is the lock's fencing token.
	LockIndex uint64
	Created   uint64 // indexes of the store
	Modified  uint64
}

// KeyAction is what an operation does to an entry, or asks of it. The words are
// those of Consul's transactions.
type KeyAction string

const (
	KeyPut       KeyAction = "set"
	KeyCAS       KeyAction = "cas"         // put if Modified is as given; 0: if it is not there
	KeyAcquire   KeyAction = "lock"        // put and lock, unless another session holds it
	KeyRelease   KeyAction = "unlock"      // put and unlock, if the session holds it
	KeyDelete    KeyAction = "delete"      // no error when it is not there
	KeyDeleteCAS KeyAction = "delete-cas"  // delete if Modified is as given; gone already is done
	KeyDeleteAll KeyAction = "delete-tree" // delete all that begin with the key

	KeyGet          KeyAction = "get"
	KeyGetOrEmpty   KeyAction = "get-or-empty" // an entry without a value when it is not there
	KeyGetAll       KeyAction = "get-tree"
	KeyCheckIndex   KeyAction = "check-index"   // Modified must be as given
	KeyCheckSession KeyAction = "check-session" // the session must hold it
	KeyCheckAbsent  KeyAction = "check-not-exists"
)

// Reads reports whether the action changes nothing.
func (a KeyAction) Reads() bool {
	switch a {
	case KeyGet, KeyGetOrEmpty, KeyGetAll, KeyCheckIndex, KeyCheckSession, KeyCheckAbsent:
		return true
	}
	return false
}

// Writes reports whether the action may change something.
func (a KeyAction) Writes() bool {
	switch a {
	case KeyPut, KeyCAS, KeyAcquire, KeyRelease, KeyDelete, KeyDeleteCAS, KeyDeleteAll:
		return true
	}
	return false
}

// KeyOp is an operation on the key/value store: Modified is what is compared,
// Session who locks or unlocks.
type KeyOp struct {
	Action KeyAction
	KeyValue
}

// SessionBehavior says what becomes of the entries that a session holds when it ends.
type SessionBehavior string

const (
	ReleaseKeys SessionBehavior = "release" // unlock them
	DeleteKeys  SessionBehavior = "delete"
)

// Session is what locks are held by. It ends when it is destroyed, when its TTL
// passes without a renewal, when its node goes, or when one of its checks turns
// critical or goes.
type Session struct {
	ID            string          `json:"id"`
	Name          string          `json:"name,omitempty"`
	Node          string          `json:"node"`
	NodeChecks    []string        `json:"node_checks"`
	ServiceChecks []ServiceCheck  `json:"service_checks"`
	LockDelay     time.Duration   `json:"lock_delay"` // after its end, for how long nobody may take its locks
	Behavior      SessionBehavior `json:"behavior"`
	TTL           time.Duration   `json:"ttl,omitempty"` // 0: none
	TTLText       string          `json:"ttl_text,omitempty"`
	Lease         LeaseID         `json:"lease,omitempty"`
	Created       uint64          `json:"-"`
	Modified      uint64          `json:"-"`
}

// ServiceCheck names a check of an instance on the session's node.
type ServiceCheck struct {
	ID        string `json:"id"`
	Namespace string `json:"namespace,omitempty"`
}
