package replica

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// Commit is a finished transaction for an engine: if all reads still hold, all its
// writes are made, else none.
type Commit struct {
	At      uint64 // index of the table that was read
	Reads   []Read
	Ranges  []string // prefixes that were read: no key in them may have changed after At
	Puts    []Put
	Deletes []string
	Cleared []string // prefixes to remove; no key of Puts or Deletes is in them
}

// Read is a key that a transaction read.
type Read struct {
	Key      string
	Modified uint64 // 0: there was no record
}

// Put is a key that a transaction sets.
type Put struct {
	Key   string
	Value []byte
	Lease skerry.LeaseID
}

// Engine makes commits in one order for all servers.
type Engine interface {
	// Commit returns the index of the change. conflict is true if a read does not
	// hold; index is then the one that the table must reach before another attempt.
	Commit(ctx context.Context, c *Commit) (index uint64, conflict bool, err error)
	// Sync is [skerry.KV]'s.
	Sync(ctx context.Context) error
}

// Update is [skerry.KV]'s Update for a table that follows an engine.
func (t *Table) Update(ctx context.Context, e Engine, change func(skerry.Tx) error) (uint64, error) {
	var turn *sync.Mutex
	defer func() {
		if turn != nil {
			turn.Unlock()
		}
	}()
	synced := false
	for {
		x := &tx{base: t.snapshot()}
		err := change(x)
		if damage := x.damage(); damage != nil {
			err = damage
		}
		if err != nil || x.empty() {
			// The engine checks the reads of a commit. Without a commit they hold only
			// if the table was not behind.
			if synced {
				return x.base.index, err
			}
			if err := e.Sync(ctx); err != nil {
				return 0, err
			}
			synced = true
			if t.Index() == x.base.index {
				return x.base.index, err
			}
			continue
		}
		if len(x.writes) > 0 {
			// Writers of the same key on this server take turns, to avoid conflicts. A
			// writer that changes another key after its wait releases its turn.
			if own := &t.turns[hash(x.writes[0].key)%uint32(len(t.turns))]; own != turn {
				if turn != nil {
					turn.Unlock()
				}
				turn = own
				if !turn.TryLock() {
					turn.Lock()
					continue
				}
			}
		}
		index, conflict, err := e.Commit(ctx, x.commit())
		if err != nil {
			return 0, err
		}
		if err := t.Wait(ctx, index); err != nil {
			return 0, err
		}
		if !conflict {
			return index, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, skerry.Errorf(skerry.Unavailable, "others kept changing the same keys: %w", err)
		}
	}
}

// hash is FNV-1a.
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// write is the last write of a transaction to a key.
type write struct {
	key    string
	record *skerry.Record // nil: deleted
}

// many is the number of writes from which a map is faster than a scan.
const many = 16

// tx implements [skerry.Tx] over a snapshot.
type tx struct {
	base    *Snapshot
	reads   []Read
	looked  map[string]bool // of reads, once they are many
	ranges  []string
	writes  []write
	written map[string]int // place in writes, once they are many
	cleared []string
	damaged []*skerry.Record // among the reads
}

func (x *tx) empty() bool { return len(x.writes) == 0 && len(x.cleared) == 0 }

// Get implements [skerry.Tx].
func (x *tx) Get(key string) *skerry.Record {
	if at, ok := x.find(key); ok {
		return x.writes[at].record
	}
	if x.isCleared(key) {
		return nil
	}
	r := x.base.Get(key)
	x.read(key, r)
	return r
}

// damage returns the error of a damaged record that the transaction read and neither
// wrote nor removed, or nil.
func (x *tx) damage() error {
	for _, r := range x.damaged {
		if _, ok := x.find(r.Key); !ok && !x.isCleared(r.Key) {
			return r.Damage
		}
	}
	return nil
}

func (x *tx) read(key string, r *skerry.Record) {
	if r != nil && r.Damage != nil {
		x.damaged = append(x.damaged, r)
	}
	if len(x.reads) < many {
		for i := range x.reads {
			if x.reads[i].Key == key {
				return
			}
		}
	} else {
		if x.looked == nil {
			x.looked = map[string]bool{}
			for _, r := range x.reads {
				x.looked[r.Key] = true
			}
		}
		if x.looked[key] {
			return
		}
		x.looked[key] = true
	}
	var modified uint64
	if r != nil {
		modified = r.Modified
	}
	x.reads = append(x.reads, Read{key, modified})
}

// All implements [skerry.Tx].
func (x *tx) All(prefix string) []*skerry.Record {
	x.ranges = append(x.ranges, prefix)
	var out []*skerry.Record
	for r := range x.base.All(skerry.Below(prefix), "") {
		if _, changed := x.find(r.Key); changed || x.isCleared(r.Key) {
			continue
		}
		x.read(r.Key, r)
		out = append(out, r)
	}
	for _, w := range x.writes {
		if w.record != nil && strings.HasPrefix(w.key, prefix) {
			out = append(out, w.record)
		}
	}
	slices.SortFunc(out, func(a, b *skerry.Record) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Put implements [skerry.Tx].
func (x *tx) Put(key string, value []byte, lease skerry.LeaseID) {
	r := &skerry.Record{Key: key, Value: value, Lease: lease}
	if at, ok := x.find(key); ok {
		if was := x.writes[at].record; was != nil {
			r.Created = was.Created
		}
	} else if was := x.base.Get(key); was != nil && !x.isCleared(key) {
		r.Created = was.Created
	}
	x.write(key, r)
}

// Delete implements [skerry.Tx].
func (x *tx) Delete(key string) { x.write(key, nil) }

// DeleteAll implements [skerry.Tx].
func (x *tx) DeleteAll(prefix string) {
	for i := range x.writes {
		if strings.HasPrefix(x.writes[i].key, prefix) {
			x.writes[i].record = nil
		}
	}
	x.cleared = append(x.cleared, prefix)
}

func (x *tx) find(key string) (int, bool) {
	if x.written != nil {
		at, ok := x.written[key]
		return at, ok
	}
	for i := range x.writes {
		if x.writes[i].key == key {
			return i, true
		}
	}
	return 0, false
}

func (x *tx) write(key string, r *skerry.Record) {
	if at, ok := x.find(key); ok {
		x.writes[at].record = r
		return
	}
	x.writes = append(x.writes, write{key, r})
	if x.written != nil {
		x.written[key] = len(x.writes) - 1
	} else if len(x.writes) > many {
		x.written = make(map[string]int, 2*many)
		for i, w := range x.writes {
			x.written[w.key] = i
		}
	}
}

func (x *tx) isCleared(key string) bool { return under(x.cleared, key) }

func under(prefixes []string, key string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// commit returns the transaction's commit. A commit sets or removes a key only once,
// so a cleared prefix with a later write becomes the removal of each of its keys.
func (x *tx) commit() *Commit {
	c := &Commit{At: x.base.index, Reads: x.reads, Ranges: x.ranges}
	slices.SortFunc(x.cleared, strings.Compare)
	for _, prefix := range x.cleared {
		if under(c.Cleared, prefix) {
			continue
		}
		if !slices.ContainsFunc(x.writes, func(w write) bool { return w.record != nil && strings.HasPrefix(w.key, prefix) }) {
			c.Cleared = append(c.Cleared, prefix)
			continue
		}
		c.Ranges = append(c.Ranges, prefix)
		for r := range x.base.All(skerry.Below(prefix), "") {
			if _, ok := x.find(r.Key); !ok {
				x.write(r.Key, nil)
			}
		}
	}
	for _, w := range x.writes {
		switch {
		case w.record != nil:
			c.Puts = append(c.Puts, Put{w.key, w.record.Value, w.record.Lease})
		case !under(c.Cleared, w.key):
			c.Deletes = append(c.Deletes, w.key)
		}
	}
	return c
}
