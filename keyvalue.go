package skerry

import "time"

// KeyValue is one entry of the users' key/value store. It is immutable.
type KeyValue struct {
	Key   string
	Value []byte
	Flags uint64 // the user's own
	// Session holds the entry's lock; empty: it is not locked.
	Session string
	// LockIndex is the number of times that the lock was taken. With the key and the
	// session it is the lock's fencing token.
	LockIndex uint64
	Created   uint64 // indexes of the store
	Modified  uint64
}

// KeyAction is the action of an operation on an entry. The words are those of
// Consul's transactions.
type KeyAction string

const (
	KeyPut       KeyAction = "set"         // put without a condition
	KeyCAS       KeyAction = "cas"         // put if Modified is as given; 0: if there is no entry
	KeyAcquire   KeyAction = "lock"        // put and lock, unless another session holds it
	KeyRelease   KeyAction = "unlock"      // put and unlock, if the session holds it
	KeyDelete    KeyAction = "delete"      // no error if there is no entry
	KeyDeleteCAS KeyAction = "delete-cas"  // delete if Modified is as given; succeeds if there is no entry
	KeyDeleteAll KeyAction = "delete-tree" // delete all that begin with the key

	KeyGet          KeyAction = "get"              // an error if there is no entry
	KeyGetOrEmpty   KeyAction = "get-or-empty"     // an entry without a value if there is none
	KeyGetAll       KeyAction = "get-tree"         // all that begin with the key
	KeyCheckIndex   KeyAction = "check-index"      // Modified must be as given
	KeyCheckSession KeyAction = "check-session"    // the session must hold it
	KeyCheckAbsent  KeyAction = "check-not-exists" // there must be no entry
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

// KeyOp is an operation on the key/value store. Modified is the index to compare,
// Session the session that locks or unlocks.
type KeyOp struct {
	Action KeyAction
	KeyValue
}

// SessionBehavior is the action on a session's locked entries when it ends.
type SessionBehavior string

const (
	ReleaseKeys SessionBehavior = "release" // unlock them
	DeleteKeys  SessionBehavior = "delete"  // delete them
)

// Session is a holder of locks. It ends when it is destroyed, when its TTL passes
// without a renewal, when its node is removed, or when one of its checks turns
// critical or is removed.
type Session struct {
	ID            string          `json:"id"`
	Name          string          `json:"name,omitempty"`
	Node          string          `json:"node"`
	NodeChecks    []string        `json:"node_checks"`
	ServiceChecks []ServiceCheck  `json:"service_checks"`
	LockDelay     time.Duration   `json:"lock_delay"` // how long its locks cannot be taken after its end
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
