package skerry

import (
	"context"
	"iter"
	"time"
)

// Record is one key of the quorum store and its value. It is immutable and must
// not be written to.
type Record struct {
	Key      string
	Value    []byte
	Created  uint64 // the index at which the key was created
	Modified uint64 // the index of its last change
	Lease    LeaseID
	// Damage is set if the record is not as it was written; Value is nil then.
	// Key is the place where it was found. The error is of kind [Internal] and names
	// the key.
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

// Fleeting is the prefix of keys that are not watched and are soon removed. Their
// removals are not remembered: [KV].Watch, [Snapshot].Changed and [Feed] know those keys
// only as long as they are there.
const Fleeting = "made/"

// KV is the quorum store: one ordered table of keys that all servers agree on. A
// change is made by a transaction, and is visible once a majority has it on disk.
// Every change has an index, greater than those before it, the same on all
// servers, never 0 and never above 2^53.
//
// Errors are of kind [Unavailable] while no majority answers, [Exhausted] when
// the store is full, [Invalid] when a change is too large, [Internal] when a change
// read a damaged record and neither wrote nor removed it.
type KV interface {
	// Snapshot returns the table as this server has it now, without asking another.
	Snapshot() Snapshot
	// Sync returns when Snapshot holds every change that was acknowledged by any
	// server before Sync was called.
	Sync(ctx context.Context) error
	// Update runs change on the present table and commits its writes as one change.
	// It commits nothing if change returns an error. It runs change again if a record
	// that it read has changed meanwhile, so change must only modify its Tx, and
	// captured variables that each run sets anew. Snapshot holds the change when
	// Update returns, and index is its index; a change that writes nothing has the
	// index of the table that it read. After an error of kind Unavailable the change
	// may have been made.
	Update(ctx context.Context, change func(Tx) error) (index uint64, err error)
	// Watch returns the index of the last change in the range (a removal counts)
	// and a channel that is closed after the next one. A range without a known change
	// has an index that is not 0. A wake-up may be spurious: compare the index.
	Watch(r Range) (index uint64, changed <-chan struct{})
	// Unwatch cancels one call of Watch. The store frees the state of a range with
	// its last watcher, so a watcher of ranges that clients choose must call it for
	// each call of Watch. After the channel is closed it does nothing.
	Unwatch(changed <-chan struct{})
	// Changed returns the index of Watch alone. It keeps no state for the range.
	Changed(r Range) uint64

	// Grant makes a lease. Keys put with it are removed when it was not renewed for
	// ttl. It never ends early; it may end late, after a restart by another ttl. ttl
	// is rounded up to seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew starts the lease's ttl anew. It returns an error of kind [NotFound] if
	// the lease has ended.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends the lease at once and removes its keys. An unknown lease is no error.
	Revoke(ctx context.Context, id LeaseID) error
}

// Feed is an optional interface of a KV, for readers that follow a part of the table.
type Feed interface {
	// Changes returns the keys below prefix that changed after the index since, each
	// once, in the order of their first change, up to the present. ok is false if
	// those changes are forgotten: then the caller must read everything.
	Changes(prefix string, since uint64) (keys []string, ok bool)
}

// Snapshot is the table at one moment.
type Snapshot interface {
	// Index is the index of the last change in the snapshot.
	Index() uint64
	// Get returns the key's record, or nil.
	Get(key string) *Record
	// All returns the records of a range in the order of their keys, starting at the
	// first key that is not less than from.
	All(r Range, from string) iter.Seq[*Record]
	// Changed is the index of the last change in the range: a removal counts.
	Changed(r Range) uint64
	// ChangedAmong is Changed of only the keys that sees accepts.
	ChangedAmong(r Range, sees func(key string) bool) uint64
}

// Tx is a transaction. It reads its own writes: such records have 0 as their
// Modified. It must be used only by the goroutine that runs it.
type Tx interface {
	// Get returns the key's record, or nil.
	Get(key string) *Record
	// All returns the records below a prefix, ordered by key.
	All(prefix string) []*Record
	// Put sets the key's value. The key ends with the lease; 0: never.
	Put(key string, value []byte, lease LeaseID)
	// Delete removes the key. A missing key is no error.
	Delete(key string)
	// DeleteAll removes all keys that begin with prefix, without reading them.
	DeleteAll(prefix string)
}

// Replacer is a [KV] whose whole table can be replaced.
type Replacer interface {
	// Replace makes the table hold exactly these records, by key and value (and
	// lease), as one change with an index greater than atLeast. After an error among
	// the records the table is unchanged. Only a part of them is in memory at a time.
	Replace(ctx context.Context, atLeast uint64, records iter.Seq2[Record, error]) error
}
