package skerry

import (
	"context"
	"iter"
	"time"
)

// Record is one key of the store of decided things and its value. It is
// immutable: nothing of it may be written to.
type Record struct {
	Key      string
	Value    []byte
	Created  uint64 // the index at which the key came to be
	Modified uint64 // the index of its last change
	Lease    LeaseID
	// Damage says that the record is not as it was written; Value is nil then. Key
	// is where it was found. It is an error of kind [Internal] that names the key.
	Damage error
}

// LeaseID names a lease. 0 is none.
type LeaseID int64

// Range names one key, or all keys that begin with a prefix.
type Range struct {
	Key   string
	Below bool // Key is a prefix
}

// Only is the range of one key.
func Only(key string) Range { return Range{Key: key} }

// Below is the range of all keys that begin with prefix.
func Below(prefix string) Range { return Range{Key: prefix, Below: true} }

// KV is the store of decided things: one ordered table of keys that all servers
// agree on. A change is made by a transaction, and is there once a majority has
// it on disk. Every change has an index, greater than those before it, the same
// on all servers, never 0 and never above 2^53.
//
// Errors are of kind [Unavailable] while no majority answers, [Exhausted] when
// the store is full, [Invalid] when a change is too large, [Internal] when a change
// rests on a damaged record: what read one, and neither wrote nor removed it, is not made.
type KV interface {
	// Snapshot returns the table as this server has it now, without asking another.
	Snapshot() Snapshot
	// Sync returns when Snapshot holds every change that was acknowledged by any
	// server before Sync was called.
	Sync(ctx context.Context) error
	// Update runs change on the present table and makes what it did one change:
	// all of it or, when change returns an error, nothing. It runs change again
	// when what was read changed meanwhile, so change must only touch its Tx and
	// what it captured and sets anew. Snapshot holds the change when Update
	// returns, and index is its index; a change that writes nothing has the index
	// of the table that it read. An error of kind Unavailable may leave open
	// whether the change was made.
	Update(ctx context.Context, change func(Tx) error) (index uint64, err error)
	// Watch returns the index of the last change in the range (a removal counts)
	// and a channel that is closed after the next one. A range without any change
	// known has an index that is not 0. A wake-up may be spurious: compare the index.
	Watch(r Range) (index uint64, changed <-chan struct{})
	// Unwatch takes back one call of Watch: its caller does not wait any more. What
	// is kept for a range goes with its last watcher, so a watcher of ranges that
	// others name calls it for each call of Watch. After the channel is closed it does nothing.
	Unwatch(changed <-chan struct{})
	// Changed is Watch's index alone: nothing is kept for the range.
	Changed(r Range) uint64

	// Grant makes a lease: the keys put with it are removed when it was not
	// renewed for ttl. It never ends early; it may end late, after a restart by
	// another ttl. ttl is rounded up to seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew starts the lease's ttl anew. An error of kind [NotFound] says that the
	// lease has ended.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends the lease at once and removes its keys. An unknown one is no error.
	Revoke(ctx context.Context, id LeaseID) error
}

// Feed is what a KV may offer besides, for those who follow a part of the table.
type Feed interface {
	// Changes returns the keys below prefix that changed after the index since, each
	// once, in the order of their first change, up to the present. ok is false when
	// that is not remembered any more: then look at everything.
	Changes(prefix string, since uint64) (keys []string, ok bool)
}

// Snapshot is the table at one moment.
type Snapshot interface {
	// Index is of the last change that the snapshot holds.
	Index() uint64
	// Get returns the key's record, or nil.
	Get(key string) *Record
	// All returns the records of a range in the order of their keys, from the
	// first one that is not below from on.
	All(r Range, from string) iter.Seq[*Record]
	// Changed is the index of the last change in the range: a removal counts.
	Changed(r Range) uint64
	// ChangedAmong is Changed as it would be if there were only those keys that sees
	// accepts.
	ChangedAmong(r Range, sees func(key string) bool) uint64
}

// Tx is a change in the making. It sees what it has done itself: such records
// have 0 as their Modified. It is bound to the goroutine that runs it.
type Tx interface {
	Get(key string) *Record
	// All returns the records below a prefix, ordered by key.
	All(prefix string) []*Record
	Put(key string, value []byte, lease LeaseID)
	Delete(key string)
	// DeleteAll removes all keys that begin with prefix, without reading them.
	DeleteAll(prefix string)
}

// Replacer is a [KV] whose whole table can be exchanged for another.
type Replacer interface {
	// Replace makes the table hold exactly these records, by key and value (and
	// lease), as one change with an index greater than atLeast. An error among the
	// records ends it, and nothing changes. It keeps a part of them at a time.
	Replace(ctx context.Context, atLeast uint64, records iter.Seq2[Record, error]) error
}
