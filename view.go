package skerry

import (
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Entry is one instance in a view, with its node, checks and health.
type Entry struct {
	Node     *Node
	Instance *Instance
	Checks   []*Check // the node's, then the instance's, each ordered by ID
	Health   Health   // the worst of Checks; passing without any
	Owner    OwnerID
	Guarded  bool // its owner is silent and held by the guard
}

// Address returns the instance's own address, else the node's.
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

// Compare orders entries as views do: by node, then by ID.
func (e *Entry) Compare(f *Entry) int {
	if order := CompareNames(e.Node.Name, f.Node.Name); order != 0 {
		return order
	}
	return CompareNames(e.Instance.ID, f.Instance.ID)
}

// View is the instances of one service at one moment. It is immutable: a change
// makes a new one, and holders of the old one may go on reading it.
type View struct {
	Service string   // its name, folded
	Names   []string // the spellings in the instances, in order
	Index   uint64   // of the last change to the service
	Entries []*Entry // ordered by node name, then instance ID
	// Draining are the entries that take no new requests, in the same order. They are in no answer of the
	// protocols but those that say the state of each instance.
	Draining []*Entry
	Cause    Cause  // why Entries is empty, or CauseGuarded when some are held
	Guarded  int    // how many entries the guard holds
	Left     []Left // the entries that left recently, the latest last; see [View.EmptyCause]

	memo   sync.Map      // string → []byte
	sum    atomic.Uint64 // see Digest; 0: not worked out
	serial atomic.Uint64 // see Serial; 0: it has none yet
	chosen atomic.Pointer[chosenMemos]
}

// Left is an entry that is no longer in the service: withdrawn, expired, or replaced by
// another record.
type Left struct {
	Entry *Entry
	Cause Cause // CauseDeregistered or CauseExpired
}

// EmptyCause returns the cause of an empty result of p. If all entries that the stages
// besides health would keep have left, it is the cause of the last one; else it is
// CauseFiltered while there are entries.
func (v *View) EmptyCause(p Pipeline) Cause {
	p = p.selection()
	for _, e := range v.Entries {
		if p.drops(e) == nil {
			return CauseFiltered // dropped for its health
		}
	}
	for _, l := range slices.Backward(v.Left) {
		if p.drops(l.Entry) == nil {
			return l.Cause
		}
	}
	if len(v.Entries) > 0 {
		return CauseFiltered
	}
	return v.Cause
}

// Part returns a view of the entries that keep accepts, with the same index and cause.
func (v *View) Part(keep func(*Entry) bool) *View {
	part := &View{Service: v.Service, Index: v.Index, Cause: v.Cause}
	for _, e := range v.Entries {
		if keep(e) {
			part.Entries = append(part.Entries, e)
			if e.Guarded {
				part.Guarded++
			}
		}
	}
	for _, e := range v.Draining {
		if keep(e) {
			part.Draining = append(part.Draining, e)
		}
	}
	for _, l := range v.Left {
		if keep(l.Entry) {
			part.Left = append(part.Left, l)
		}
	}
	for _, name := range v.Names {
		if len(part.Spelled(name)) > 0 {
			part.Names = append(part.Names, name)
		}
	}
	return part
}

// Spelled returns the entries whose instance has exactly this spelling of the name.
func (v *View) Spelled(name string) []*Entry {
	if len(v.Names) == 1 && v.Names[0] == name {
		return v.Entries
	}
	var out []*Entry
	for _, e := range v.Entries {
		if e.Instance.Service == name {
			out = append(out, e)
		}
	}
	return out
}

// All returns the entries with those that drain, in their order.
func (v *View) All() []*Entry {
	if len(v.Draining) == 0 {
		return v.Entries
	}
	all := slices.Concat(v.Entries, v.Draining)
	slices.SortFunc(all, (*Entry).Compare)
	return all
}

// SetAll parts the entries of a new view into those that drain and the others.
func (v *View) SetAll(all []*Entry) {
	for _, e := range all {
		if e.Instance.Draining {
			v.Draining = append(v.Draining, e)
		} else {
			v.Entries = append(v.Entries, e)
		}
	}
}

// lastSerial is the last serial number of a view.
var lastSerial atomic.Uint64

// Serial returns a number that no other view of this process has, for keys of [View.Memo].
func (v *View) Serial() uint64 {
	if n := v.serial.Load(); n != 0 {
		return n
	}
	v.serial.CompareAndSwap(0, lastSerial.Add(1))
	return v.serial.Load()
}

// Memo returns the earlier result of render for key on this view, or calls it now.
// A front-end keeps its encoded answers here, so that each is encoded once per
// version and all readers share its bytes. The bytes must not be written to. A nil
// is not kept.
//
// A key must contain everything that the bytes depend on besides the view: see
// [MemoKey]. The number of keys is not limited, so clients must not be able to
// choose them; use [View.MemoChosen] for keys that a client chooses.
func (v *View) Memo(key string, render func() []byte) []byte {
	if b, ok := v.memo.Load(key); ok {
		return b.([]byte)
	}
	b := render()
	if b == nil {
		return nil
	}
	was, _ := v.memo.LoadOrStore(key, b)
	return was.([]byte)
}

// The bounds of answers under keys that clients choose.
const (
	maxChosen      = 64       // keys of one view
	maxChosenBytes = 64 << 20 // keys and answers of all views
)

// chosenBytes is the size of all views' keys and answers under chosen keys.
var chosenBytes atomic.Int64

// chosenMemos counts one view's answers under chosen keys, and their bytes.
type chosenMemos struct{ count, bytes atomic.Int64 }

// MemoChosen is Memo for keys that clients choose. It keeps at most 64 answers of a
// view, and 64 MiB in all views; beyond that it renders each time.
func (v *View) MemoChosen(key string, render func() []byte) []byte {
	if b, ok := v.memo.Load(key); ok {
		return b.([]byte)
	}
	b := render()
	if b == nil || !v.chooses(int64(len(key)+cap(b))) {
		return b
	}
	was, _ := v.memo.LoadOrStore(key, b)
	return was.([]byte)
}

// chooses reserves room for one more chosen answer, and reports whether there is any.
// The room is released when the view is garbage-collected.
func (v *View) chooses(size int64) bool {
	c := v.chosen.Load()
	if c == nil {
		c = &chosenMemos{}
		if v.chosen.CompareAndSwap(nil, c) {
			runtime.AddCleanup(v, func(c *chosenMemos) { chosenBytes.Add(-c.bytes.Load()) }, c)
		} else {
			c = v.chosen.Load()
		}
	}
	if c.count.Load() >= maxChosen || chosenBytes.Load()+size > maxChosenBytes {
		return false
	}
	c.count.Add(1)
	c.bytes.Add(size)
	chosenBytes.Add(size)
	return true
}

// MemoKey encodes the parts that an answer depends on as one key. Different parts
// make different keys, whatever bytes they hold. The first is the front-end's name.
func MemoKey(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + 2
	}
	var key strings.Builder
	key.Grow(n)
	for _, p := range parts {
		var length [binary.MaxVarintLen64]byte
		key.Write(length[:binary.PutUvarint(length[:], uint64(len(p)))])
		key.WriteString(p)
	}
	return key.String()
}
