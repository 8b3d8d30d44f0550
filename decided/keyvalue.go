// Package decided gives the store of decided things its meaning: the key/value
// store with its locks, sessions, transactions. It knows no engine and no
// protocol. DESIGN.md has the map.
package decided

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// The kinds of keys in the store.
const (
	keyPrefix     = "kv/"
	sessionPrefix = "session/"
	alivePrefix   = "alive/" // of sessions with a TTL: bound to their lease
	heldPrefix    = "held/"  // held/<session>/<key>: the locks of a session
	delayPrefix   = "delay/" // delay/<key>: nobody may lock the key now
	boundPrefix   = "bound/" // bound/<node>/<session>: the sessions of a node
	leaderKey     = "leader"
)

// Store is the key/value store and its sessions.
type Store struct {
	KV       skerry.KV
	Catalog  skerry.Catalog
	External CatalogTx // the external records, in transactions
	// ShortestTTL is the least that a session may ask for; default 10 s.
	ShortestTTL time.Duration
	// MaxSnapshot is how many bytes a snapshot that is restored may unpack to; 0: any.
	MaxSnapshot int64
	Log         *slog.Logger // default: discard

	counts counts
}

func (s *Store) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// The value of a record: a version, the entry's fields, the user's bytes.
const entryVersion = 1

func encodeEntry(e *skerry.KeyValue) []byte {
	b := make([]byte, 0, 1+2*binary.MaxVarintLen64+1+len(e.Session)+len(e.Value))
	b = append(b, entryVersion)
	b = binary.AppendUvarint(b, e.Flags)
	b = binary.AppendUvarint(b, e.LockIndex)
	b = append(b, byte(len(e.Session)))
	b = append(b, e.Session...)
	return append(b, e.Value...)
}

// decodeEntry shares the record's bytes.
func decodeEntry(r *skerry.Record) (skerry.KeyValue, error) {
	e := skerry.KeyValue{Key: r.Key[len(keyPrefix):], Created: r.Created, Modified: r.Modified}
	if r.Damage != nil {
		return e, r.Damage
	}
	b := r.Value
	if len(b) == 0 || b[0] != entryVersion {
		return e, fmt.Errorf("the key %q was written by another version of skerry", e.Key)
	}
	flags, n := binary.Uvarint(b[1:])
	lockIndex, m := binary.Uvarint(b[1+max(n, 0):])
	at := 1 + n + m
	if n <= 0 || m <= 0 || at >= len(b) || at+1+int(b[at]) > len(b) {
		return e, fmt.Errorf("the key %q is damaged in the store", e.Key)
	}
	e.Flags, e.LockIndex = flags, lockIndex
	e.Session = string(b[at+1 : at+1+int(b[at])])
	if value := b[at+1+int(b[at]):]; len(value) > 0 {
		e.Value = value
	}
	return e, nil
}

// KeyRange is the range of a key's record, or of all below a prefix.
func KeyRange(key string, below bool) skerry.Range {
	return skerry.Range{Key: keyPrefix + key, Below: below}
}

// Watch returns the index of the last change to the key, or to any below it, and
// a channel that is closed at the next.
func (s *Store) Watch(key string, below bool) (uint64, <-chan struct{}) {
	return s.KV.Watch(KeyRange(key, below))
}

// Unwatch takes back one call of Watch or WatchSession: its caller does not wait for
// the channel any more.
func (s *Store) Unwatch(changed <-chan struct{}) { s.KV.Unwatch(changed) }

// Changed is Watch's index alone.
func (s *Store) Changed(key string, below bool) uint64 { return s.KV.Changed(KeyRange(key, below)) }

// Newest returns the index of the last change to a key below prefix that sees
// accepts, as Watch would if there were no others. A waiter asks for it again and
// again: was is what it returned when the last change to any key below the prefix was
// at, 0 at first, so that only what changed since is looked at.
func (s *Store) Newest(prefix string, at, was uint64, sees func(key string) bool) uint64 {
	r := KeyRange(prefix, true)
	among := func(key string) bool { return sees(key[len(keyPrefix):]) }
	feed, ok := s.KV.(skerry.Feed)
	if at == 0 || !ok {
		return s.KV.Snapshot().ChangedAmong(r, among)
	}
	changed, ok := feed.Changes(r.Key, at)
	snapshot := s.KV.Snapshot()
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

// Sync waits until reads see all that was acknowledged before.
func (s *Store) Sync(ctx context.Context) error { return s.KV.Sync(ctx) }

// Get returns the entry, or nil.
func (s *Store) Get(key string) (*skerry.KeyValue, error) {
	r := s.KV.Snapshot().Get(keyPrefix + key)
	if r == nil {
		return nil, nil
	}
	e, err := decodeEntry(r)
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// List returns the entries below a prefix in the order of their keys, and the
// index of the last change to any. Keys that sees does not accept are not looked at,
// damaged or not; nil accepts all.
func (s *Store) List(prefix string, sees func(key string) bool) ([]skerry.KeyValue, uint64, error) {
	snapshot := s.KV.Snapshot()
	r := KeyRange(prefix, true)
	var out []skerry.KeyValue
	for record := range snapshot.All(r, "") {
		if sees != nil && !sees(record.Key[len(keyPrefix):]) {
			continue
		}
		e, err := decodeEntry(record)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, e)
	}
	return out, snapshot.Changed(r), nil
}

// Keys returns the keys below a prefix, cut after the first separator behind the
// prefix when there is one, each once; and the index of the last change to any. sees
// is as for List.
func (s *Store) Keys(prefix, separator string, sees func(key string) bool) ([]string, uint64, error) {
	snapshot := s.KV.Snapshot()
	r := KeyRange(prefix, true)
	out := []string{}
	from := ""
	for {
		skip := ""
		for record := range snapshot.All(r, from) {
			key := record.Key[len(keyPrefix):]
			if sees != nil && !sees(key) {
				continue
			}
			if record.Damage != nil {
				return nil, 0, record.Damage // its key may be damaged too
			}
			if separator != "" {
				if at := strings.Index(key[len(prefix):], separator); at >= 0 {
					key = key[:len(prefix)+at+len(separator)]
					skip = after(keyPrefix + key)
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

// after is the first string that is above all with this prefix.
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

// Write makes one write. done is false when its condition did not hold.
func (s *Store) Write(ctx context.Context, w skerry.KeyOp) (done bool, err error) {
	_, err = s.KV.Update(ctx, func(tx skerry.Tx) error {
		var err error
		_, done, err = writeKey(tx, &w)
		return err
	})
	done = done && err == nil
	if w.Action == skerry.KeyAcquire {
		s.counts.lock(done, err)
	}
	return done, err
}

func getEntry(tx skerry.Tx, key string) (*skerry.KeyValue, error) {
	r := tx.Get(keyPrefix + key)
	if r == nil {
		return nil, nil
	}
	e, err := decodeEntry(r)
	return &e, err
}

// writeKey does a write within a transaction and returns the entry as it is then.
func writeKey(tx skerry.Tx, w *skerry.KeyOp) (now *skerry.KeyValue, done bool, err error) {
	if w.Action == skerry.KeyDeleteAll {
		tx.DeleteAll(keyPrefix + w.Key)
		return nil, true, nil
	}
	if len(w.Key) > skerry.MaxKey {
		return nil, false, skerry.Errorf(skerry.Invalid, "Key: %.40q… has %d bytes; at most %d are allowed", w.Key, len(w.Key), skerry.MaxKey)
	}
	was, err := getEntry(tx, w.Key)
	bare := false
	if err != nil && (w.Action == skerry.KeyPut || w.Action == skerry.KeyDelete) {
		// What asks for nothing of the entry mends a damaged one.
		was, err = bareEntry(tx, w.Key)
		bare = true
	}
	if err != nil {
		return nil, false, err
	}
	next := w.KeyValue
	switch w.Action {
	case skerry.KeyDelete, skerry.KeyDeleteCAS:
		if was == nil {
			return nil, true, nil
		}
		if w.Action == skerry.KeyDeleteCAS && was.Modified != w.Modified {
			return nil, false, nil
		}
		removeEntry(tx, was)
		return nil, true, nil
	case skerry.KeyPut, skerry.KeyCAS:
		if w.Action == skerry.KeyCAS && !asGiven(was, w.Modified) {
			return nil, false, nil
		}
		// A plain write asks for no lock, and heeds none; its LockIndex is 0.
		next.Session, next.LockIndex = "", 0
		if was != nil {
			next.Session = was.Session
		}
	case skerry.KeyAcquire:
		if done, err = acquire(tx, was, &next); !done || err != nil {
			return nil, false, err
		}
	case skerry.KeyRelease:
		if was == nil || was.Session == "" || was.Session != w.Session {
			return nil, false, nil
		}
		tx.Delete(heldKey(was.Session, was.Key))
		next.Session, next.LockIndex = "", was.LockIndex
	default:
		return nil, false, skerry.Errorf(skerry.Invalid, "unknown KV operation: %s", w.Action)
	}
	if bare {
		next.Created, next.Modified = was.Created, 0
		tx.Put(keyPrefix+next.Key, encodeEntry(&next), 0)
		return &next, true, nil
	}
	return putEntry(tx, was, &next), true, nil
}

// bareEntry is what is known of a damaged entry: which session holds it. Any other
// error of an entry stays.
func bareEntry(tx skerry.Tx, key string) (*skerry.KeyValue, error) {
	r := tx.Get(keyPrefix + key)
	if r.Damage == nil {
		_, err := decodeEntry(r)
		return nil, err
	}
	e := &skerry.KeyValue{Key: key, Created: r.Created, Modified: r.Modified}
	for _, h := range tx.All(heldPrefix) {
		if session, held, _ := strings.Cut(h.Key[len(heldPrefix):], "/"); held == key {
			e.Session = session
		}
	}
	return e, nil
}

func asGiven(was *skerry.KeyValue, modified uint64) bool {
	if was == nil {
		return modified == 0
	}
	return modified != 0 && was.Modified == modified
}

// putEntry writes the entry unless it is there already: writing the same again
// moves no index and wakes nobody.
func putEntry(tx skerry.Tx, was, next *skerry.KeyValue) *skerry.KeyValue {
	next.Created, next.Modified = 0, 0
	if was != nil {
		if was.Flags == next.Flags && was.LockIndex == next.LockIndex && was.Session == next.Session && string(was.Value) == string(next.Value) {
			return was
		}
		next.Created = was.Created
	}
	tx.Put(keyPrefix+next.Key, encodeEntry(next), 0)
	return next
}

func removeEntry(tx skerry.Tx, was *skerry.KeyValue) {
	tx.Delete(keyPrefix + was.Key)
	if was.Session != "" {
		tx.Delete(heldKey(was.Session, was.Key))
	}
}

func heldKey(session, key string) string { return heldPrefix + session + "/" + key }

// acquire takes the lock for next.Session. It may be held by it already, by
// another, or be under a lock-delay.
func acquire(tx skerry.Tx, was, next *skerry.KeyValue) (bool, error) {
	s, err := liveSession(tx, next.Session)
	if err != nil {
		return false, err
	}
	if s == nil {
		return false, &skerry.Error{Kind: skerry.Invalid, Subject: "session", ID: next.Session, Message: fmt.Sprintf("invalid session %q", next.Session)}
	}
	if was != nil && was.Session == s.ID {
		next.LockIndex = was.LockIndex
		return true, nil
	}
	if was != nil && was.Session != "" || tx.Get(delayPrefix+next.Key) != nil {
		return false, nil
	}
	next.LockIndex = 1
	if was != nil {
		next.LockIndex = was.LockIndex + 1
	}
	tx.Put(heldKey(s.ID, next.Key), nil, 0)
	return true, nil
}
