package skerry

import (
	"sync"
	"sync/atomic"
)

// Entry is one instance in a view, with all that a reader needs to judge it.
type Entry struct {
	Node     *Node
	Instance *Instance
	Checks   []*Check // the node's, then the instance's, each ordered by ID
	Health   Health   // the worst of Checks; passing without any
	Owner    OwnerID
	Guarded  bool // its owner is silent and held by the guard
}

// Address returns where the instance is reached: its own address, else the node's.
func (e *Entry) Address() string {
	if e.Instance.Address != "" {
		return e.Instance.Address
	}
	return e.Node.Address
}

// Maintenance reports whether the instance or its node is in maintenance mode.
func (e *Entry) Maintenance() bool {
	for _, c := range e.Checks {
		if c.Maintenance() {
			return true
		}
	}
	return false
}

// View is the instances of one service at one moment. It is immutable: a change
// makes a new one, and who holds the old may go on reading it.
type View struct {
	Service string
	Index   uint64   // of the last change to the service
	Entries []*Entry // ordered by node name, then instance ID
	Cause   Cause    // why Entries is empty, or CauseGuarded when some are held
	Guarded int      // how many entries the guard holds

	memo  sync.Map // string → []byte
	memos atomic.Int32
}

// maxMemos bounds what one view keeps, since a client chooses the keys.
const maxMemos = 64

// Memo returns what render returned for key on this view before, or calls it
// now. A tongue keeps its encoded answers here, so that each is encoded once per
// version and its bytes are shared by every reader. Keys begin with the tongue's
// name. The bytes must not be written to. A nil is not kept.
func (v *View) Memo(key string, render func() []byte) []byte {
	if b, ok := v.memo.Load(key); ok {
		return b.([]byte)
	}
	b := render()
	if b == nil {
		return nil
	}
	if v.memos.Load() >= maxMemos {
		return b
	}
	if was, loaded := v.memo.LoadOrStore(key, b); loaded {
		return was.([]byte)
	}
	v.memos.Add(1)
	return b
}
