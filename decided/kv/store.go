// Package kv has the key/value entries of the quorum store, and the locks on them.
package kv

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// Options configure a [Store].
type Options struct {
	KV skerry.KV
}

// Store reads and writes key/value entries.
type Store struct {
	kv             skerry.KV
	taken, refused atomic.Uint64 // attempts to take a lock
}

// New returns the entries in a quorum store.
func New(o Options) *Store { return &Store{kv: o.KV} }

// rangeOf returns the range of a key's record, or of all records below a prefix.
func rangeOf(key string, below bool) skerry.Range {
	return skerry.Range{Key: record.Entries + key, Below: below}
}

// Watch returns the index of the last change to a key, or to any key below it, and a
// channel that is closed at the next change.
func (s *Store) Watch(key string, below bool) (uint64, <-chan struct{}) {
	return s.kv.Watch(rangeOf(key, below))
}

// Unwatch cancels one call of Watch, or of another watch on the same quorum store. The
// caller must not wait for the channel any more.
func (s *Store) Unwatch(changed <-chan struct{}) { s.kv.Unwatch(changed) }

// Changed returns the index that Watch returns.
func (s *Store) Changed(key string, below bool) uint64 { return s.kv.Changed(rangeOf(key, below)) }

// Newest returns the index of the last change to those keys below prefix that sees
// accepts, as Watch would if there were no other keys. A waiter calls it repeatedly. was is
// the result of the last call, and at is the index that Watch returned then; both are 0 at
// first. It looks only at the changes after at.
func (s *Store) Newest(prefix string, at, was uint64, sees func(key string) bool) uint64 {
	r := rangeOf(prefix, true)
	among := func(key string) bool { return sees(key[len(record.Entries):]) }
	feed, ok := s.kv.(skerry.Feed)
	if at == 0 || !ok {
		return s.kv.Snapshot().ChangedAmong(r, among)
	}
	changed, ok := feed.Changes(r.Key, at)
	snapshot := s.kv.Snapshot()
	if !ok {
		return snapshot.ChangedAmong(r, among)
	}
	for _, key := range changed {
		if among(key) {
			was = max(was, snapshot.Changed(skerry.Only(key)))
		}
	}
	return was
}

// Sync waits until reads see all changes that were acknowledged before.
func (s *Store) Sync(ctx context.Context) error { return s.kv.Sync(ctx) }

// Get returns the entry of a key, or nil.
func (s *Store) Get(key string) (*skerry.KeyValue, error) {
	r := s.kv.Snapshot().Get(record.Entries + key)
	if r == nil {
		return nil, nil
	}
	e, err := decode(r)
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// List returns the entries below a prefix in the order of their keys, and the index of
// the last change to any of them. Keys that sees does not accept are not looked at,
// damaged or not. A nil sees accepts all.
func (s *Store) List(prefix string, sees func(key string) bool) ([]skerry.KeyValue, uint64, error) {
	snapshot := s.kv.Snapshot()
	r := rangeOf(prefix, true)
	var out []skerry.KeyValue
	for one := range snapshot.All(r, "") {
		if sees != nil && !sees(one.Key[len(record.Entries):]) {
			continue
		}
		e, err := decode(one)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, e)
	}
	return out, snapshot.Changed(r), nil
}

// Keys returns the keys below a prefix, each once, and the index of the last change to
// any of them. A key is cut after the first separator behind the prefix. An empty
// separator cuts none. sees is as for List.
func (s *Store) Keys(prefix, separator string, sees func(key string) bool) ([]string, uint64, error) {
	snapshot := s.kv.Snapshot()
	r := rangeOf(prefix, true)
	out := []string{}
	from := ""
	for {
		skip := ""
		for one := range snapshot.All(r, from) {
			key := one.Key[len(record.Entries):]
			if sees != nil && !sees(key) {
				continue
			}
			if one.Damage != nil {
				return nil, 0, one.Damage // its key may be damaged too
			}
			if separator != "" {
				if at := strings.Index(key[len(prefix):], separator); at >= 0 {
					key = key[:len(prefix)+at+len(separator)]
					skip = after(record.Entries + key)
				}
			}
			out = append(out, key)
			if skip != "" {
				break
			}
		}
		if skip == "" {
			return out, snapshot.Changed(r), nil
		}
		from = skip
	}
}

// after returns the first string that is greater than all strings with a prefix.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\xff" + prefix
}
