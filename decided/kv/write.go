package kv

import (
	"context"
	"fmt"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/record"
)

// Write makes one write. done is false when the write's condition did not hold.
func (s *Store) Write(ctx context.Context, w skerry.KeyOp) (done bool, err error) {
	_, err = once.Update(ctx, s.kv, &done, func(tx skerry.Tx) error {
		var err error
		_, done, err = write(tx, &w)
		return err
	})
	done = done && err == nil
	if w.Action == skerry.KeyAcquire {
		s.note(done, err)
	}
	return done, err
}

// write makes a write within a transaction and returns the entry as it is then.
func write(tx skerry.Tx, w *skerry.KeyOp) (now *skerry.KeyValue, done bool, err error) {
	if w.Action == skerry.KeyDeleteAll {
		tx.DeleteAll(record.Entries + w.Key)
		return nil, true, nil
	}
	if len(w.Key) > skerry.MaxKey {
		return nil, false, skerry.Errorf(skerry.Invalid, "Key: %.40q… has %d bytes; at most %d are allowed", w.Key, len(w.Key), skerry.MaxKey)
	}
	was, err := get(tx, w.Key)
	bare := false
	if err != nil && (w.Action == skerry.KeyPut || w.Action == skerry.KeyDelete) {
		// A write that does not depend on the entry mends a damaged one.
		was, err = bareOf(tx, w.Key)
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
		remove(tx, was)
		return nil, true, nil
	case skerry.KeyPut, skerry.KeyCAS:
		if w.Action == skerry.KeyCAS && !asGiven(was, w.Modified) {
			return nil, false, nil
		}
		// A plain write neither takes a lock nor heeds one. Its LockIndex is 0.
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
		tx.Delete(record.HeldKey(was.Session, was.Key))
		next.Session, next.LockIndex = "", was.LockIndex
	default:
		return nil, false, skerry.Errorf(skerry.Invalid, "unknown KV operation: %s", w.Action)
	}
	if bare {
		next.Created, next.Modified = was.Created, 0
		tx.Put(record.Entries+next.Key, encode(&next), 0)
		return &next, true, nil
	}
	return put(tx, was, &next), true, nil
}

// bareOf returns a damaged entry with only its key and the session that holds it. Other
// errors are returned.
func bareOf(tx skerry.Tx, key string) (*skerry.KeyValue, error) {
	r := tx.Get(record.Entries + key)
	if r.Damage == nil {
		_, err := decode(r)
		return nil, err
	}
	e := &skerry.KeyValue{Key: key, Created: r.Created, Modified: r.Modified}
	for _, h := range tx.All(record.Held) {
		if session, held, _ := strings.Cut(h.Key[len(record.Held):], "/"); held == key {
			e.Session = session
		}
	}
	return e, nil
}

// asGiven reports whether an entry was last modified at an index. 0 stands for no entry.
func asGiven(was *skerry.KeyValue, modified uint64) bool {
	if was == nil {
		return modified == 0
	}
	return modified != 0 && was.Modified == modified
}

// acquire takes the lock on next.Key for next.Session and sets next.LockIndex. It
// reports false when another session holds the lock or a lock-delay runs.
func acquire(tx skerry.Tx, was, next *skerry.KeyValue) (bool, error) {
	s, err := record.LiveSession(tx, next.Session)
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
	if was != nil && was.Session != "" || tx.Get(record.Delays+next.Key) != nil {
		return false, nil
	}
	next.LockIndex = 1
	if was != nil {
		next.LockIndex = was.LockIndex + 1
	}
	tx.Put(record.HeldKey(s.ID, next.Key), nil, 0)
	return true, nil
}

// Release gives back the locks of a session that ends, within the change that ends it.
// The entries are released or deleted, depending on the session's behavior, and their
// lock-delays begin.
func Release(tx skerry.Tx, session *skerry.Session) error {
	held := record.HeldKey(session.ID, "")
	for _, h := range tx.All(held) {
		e, err := get(tx, h.Key[len(held):])
		if err != nil {
			return err
		}
		tx.Delete(h.Key)
		if e == nil || e.Session != session.ID {
			continue
		}
		if delay := session.LockDelay; delay > 0 {
			tx.Put(record.Delays+e.Key, []byte(delay.String()), 0)
		}
		if session.Behavior == skerry.DeleteKeys {
			tx.Delete(record.Entries + e.Key)
			continue
		}
		e.Session = ""
		tx.Put(record.Entries+e.Key, encode(e), 0)
	}
	return nil
}
