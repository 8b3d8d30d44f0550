// Package replica holds one server's copy of the quorum store: an ordered table in
// memory that follows the engine. It reads no clock and knows no engine. DESIGN.md
// describes it.
package replica

import (
	"context"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/btree"

	"github.com/skerryhq/skerry"
)

// Change is a change of one key.
type Change struct {
	Key    string
	Record *skerry.Record // nil: removed
	At     uint64         // its index if less than the one it is applied with; else 0
}

func (c *Change) at(index uint64) uint64 {
	if c.At != 0 {
		return c.At
	}
	return index
}

// grave is a removed key and the index of its removal.
type grave struct {
	key   string
	index uint64
}

// maxGraves bounds the remembered removals. Beyond it the older half is forgotten,
// and every range counts as changed at the newest of those.
const maxGraves = 1 << 16

const degree = 32 // of the trees: as in etcd's own index

// Table is the copy. All methods may be called from many goroutines; one at a
// time may call Apply and Reset.
type Table struct {
	mu      sync.Mutex
	records *btree.BTreeG[*skerry.Record]
	graves  *btree.BTreeG[grave]
	index   uint64
	floor   uint64 // removals up to here are not in graves
	topics  topics
	recent  recent
	waiting []waiter
	turns   [256]sync.Mutex

	now atomic.Pointer[Snapshot] // nil: outdated
}

// waiter waits for an index to be applied.
type waiter struct {
	index uint64
	done  chan struct{}
}

// NewTable returns an empty table at an index above 0.
func NewTable(index uint64) *Table {
	t := &Table{topics: newTopics()}
	t.clear(index)
	return t
}

func (t *Table) clear(index uint64) {
	t.records = btree.NewG(degree, func(a, b *skerry.Record) bool { return a.Key < b.Key })
	t.graves = btree.NewG(degree, func(a, b grave) bool { return a.key < b.key })
	t.index, t.floor = index, index
	t.recent.forget(index)
}

// Reset makes the table hold exactly these records at this index, and wakes all.
func (t *Table) Reset(index uint64, records iter.Seq[*skerry.Record]) {
	fresh := &Table{}
	fresh.clear(index)
	for r := range records {
		fresh.records.ReplaceOrInsert(r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records, t.graves, t.index, t.floor = fresh.records, fresh.graves, index, index
	t.recent.forget(index)
	t.now.Store(nil)
	t.topics.wakeAll()
	t.passed(index)
}

// WakeAll wakes all watchers, for a table that another one replaces.
func (t *Table) WakeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.topics.wakeAll()
}

// Apply applies the changes up to index, in order. It does nothing if the table has
// reached index already.
func (t *Table) Apply(index uint64, changes []Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if index <= t.index {
		return
	}
	t.now.Store(nil)
	for _, c := range changes {
		at := c.at(index)
		if strings.HasPrefix(c.Key, skerry.Fleeting) {
			// There are as many as there are writes: their removals would crowd out the others.
			t.fleet(c)
			continue
		}
		if c.Record != nil {
			t.records.ReplaceOrInsert(c.Record)
			t.graves.Delete(grave{key: c.Key})
		} else if _, there := t.records.Delete(&skerry.Record{Key: c.Key}); there {
			t.graves.ReplaceOrInsert(grave{key: c.Key, index: at})
		} else {
			continue
		}
		t.recent.add(c.Key, at)
	}
	t.index = index
	if t.graves.Len() > maxGraves {
		t.forget()
	}
	for _, c := range changes {
		t.topics.wake(c.Key, c.at(index))
	}
	t.passed(index)
}

// fleet applies a change of a fleeting key, without remembering it.
func (t *Table) fleet(c Change) {
	if c.Record != nil {
		t.records.ReplaceOrInsert(c.Record)
	} else {
		t.records.Delete(&skerry.Record{Key: c.Key})
	}
}

// Advance moves the table to index without a change.
func (t *Table) Advance(index uint64) { t.Apply(index, nil) }

// forget drops the older half of the graves.
func (t *Table) forget() {
	oldest := t.index
	t.graves.Ascend(func(g grave) bool { oldest = min(oldest, g.index); return true })
	t.floor = max(t.floor, oldest+(t.index-oldest)/2)
	kept := btree.NewG(degree, func(a, b grave) bool { return a.key < b.key })
	t.graves.Ascend(func(g grave) bool {
		if g.index > t.floor {
			kept.ReplaceOrInsert(g)
		}
		return true
	})
	t.graves = kept
	t.topics.wakeAll()
}

// passed wakes the waiters for an index up to this one.
func (t *Table) passed(index uint64) {
	rest := t.waiting[:0]
	for _, w := range t.waiting {
		if w.index <= index {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(t.waiting[len(rest):])
	t.waiting = rest
}

// Wait returns when the table holds everything up to index.
func (t *Table) Wait(ctx context.Context, index uint64) error {
	t.mu.Lock()
	if index <= t.index {
		t.mu.Unlock()
		return nil
	}
	w := waiter{index, make(chan struct{})}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		for i := range t.waiting {
			if t.waiting[i].done == w.done {
				last := len(t.waiting) - 1
				t.waiting[i] = t.waiting[last]
				t.waiting[last] = waiter{}
				t.waiting = t.waiting[:last]
				break
			}
		}
		return skerry.Errorf(skerry.Unavailable, "the quorum store did not catch up in time: %w", ctx.Err())
	}
}

// Index returns the index of the last change in the table.
func (t *Table) Index() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.index
}

// Snapshot implements [skerry.KV].
func (t *Table) Snapshot() skerry.Snapshot { return t.snapshot() }

func (t *Table) snapshot() *Snapshot {
	if s := t.now.Load(); s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fresh()
}

// fresh returns the present snapshot. Called with mu held. The trees are copied on
// write, so a snapshot costs each later write only a few nodes.
func (t *Table) fresh() *Snapshot {
	if s := t.now.Load(); s != nil {
		return s
	}
	s := &Snapshot{records: t.records.Clone(), graves: t.graves.Clone(), index: t.index, floor: t.floor}
	t.now.Store(s)
	return s
}

// Watch implements [skerry.KV].
func (t *Table) Watch(r skerry.Range) (uint64, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	topic := t.topics.watch(r)
	if topic.last == 0 {
		topic.last = t.fresh().Changed(r)
	}
	return topic.last, topic.changed
}

// Unwatch implements [skerry.KV].
func (t *Table) Unwatch(changed <-chan struct{}) {
	select {
	case <-changed:
		return // a woken watcher is not counted any more
	default:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.topics.unwatch(changed)
}

// Changed implements [skerry.KV].
func (t *Table) Changed(r skerry.Range) uint64 {
	t.mu.Lock()
	if topic := t.topics.find(r); topic != nil && topic.last != 0 {
		defer t.mu.Unlock()
		return topic.last
	}
	now := t.fresh()
	t.mu.Unlock()
	return now.Changed(r)
}

// Snapshot is the table at one moment.
type Snapshot struct {
	records *btree.BTreeG[*skerry.Record]
	graves  *btree.BTreeG[grave]
	index   uint64
	floor   uint64
}

// Index implements [skerry.Snapshot].
func (s *Snapshot) Index() uint64 { return s.index }

// Get implements [skerry.Snapshot].
func (s *Snapshot) Get(key string) *skerry.Record {
	r, _ := s.records.Get(&skerry.Record{Key: key})
	return r
}

// All implements [skerry.Snapshot].
func (s *Snapshot) All(r skerry.Range, from string) iter.Seq[*skerry.Record] {
	return func(yield func(*skerry.Record) bool) {
		if !r.Below {
			if one := s.Get(r.Key); one != nil && r.Key >= from {
				yield(one)
			}
			return
		}
		s.records.AscendGreaterOrEqual(&skerry.Record{Key: max(r.Key, from)}, func(one *skerry.Record) bool {
			return strings.HasPrefix(one.Key, r.Key) && yield(one)
		})
	}
}

// Changed implements [skerry.Snapshot].
func (s *Snapshot) Changed(r skerry.Range) uint64 {
	return s.ChangedAmong(r, func(string) bool { return true })
}

// ChangedAmong implements [skerry.Snapshot].
func (s *Snapshot) ChangedAmong(r skerry.Range, sees func(key string) bool) uint64 {
	if !r.Below {
		if one := s.Get(r.Key); one != nil && sees(r.Key) {
			return one.Modified
		}
	}
	last := s.floor
	for one := range s.All(r, "") {
		if one.Modified > last && sees(one.Key) {
			last = one.Modified
		}
	}
	s.graves.AscendGreaterOrEqual(grave{key: r.Key}, func(g grave) bool {
		if g.key != r.Key && !(r.Below && strings.HasPrefix(g.key, r.Key)) {
			return false
		}
		if g.index > last && sees(g.key) {
			last = g.index
		}
		return true
	})
	return last
}
