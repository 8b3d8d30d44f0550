// Package session has the sessions that hold locks: how they are made and renewed, and
// how they end.
package session

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/record"
)

// The bounds of a session, as in Consul.
const (
	defaultLockDelay   = 15 * time.Second
	defaultShortestTTL = 10 * time.Second
	longestTTL         = 24 * time.Hour
)

// grace is how many TTLs pass between a session's last renewal and its end. It is two,
// as in Consul: clients of Consul still work one TTL after a renewal that failed, and
// finish before the second TTL has passed.
const grace = 2

// Catalog is the part of the catalog that sessions need.
type Catalog interface {
	// Node returns a node with its checks, or nil.
	Node(name string) *skerry.NodeView
	// Owned returns a node as its owners announce it, without the external records, or
	// nil. A transaction knows more of the external records: the catalog may show one
	// that the transaction has removed.
	Owned(name string) *skerry.NodeView
	// Watch is [skerry.Catalog]'s.
	Watch(t skerry.Topic) (index uint64, changed <-chan struct{})
}

// Options configure a [Store].
type Options struct {
	KV      skerry.KV
	Catalog Catalog
	// ShortestTTL is the shortest TTL that a session may have; default 10 s.
	ShortestTTL time.Duration
	Log         *slog.Logger // default: discard
}

// Store has the sessions.
type Store struct {
	kv          skerry.KV
	catalog     Catalog
	shortestTTL time.Duration
	log         *slog.Logger

	ended [endings]atomic.Uint64 // sessions that this server ended
}

// New returns the sessions in a quorum store.
func New(o Options) *Store {
	return &Store{
		kv: o.KV, catalog: o.Catalog, shortestTTL: cmp.Or(o.ShortestTTL, defaultShortestTTL),
		log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
}

// Lease gives a session with a TTL a new lease. The session ends with its lease.
func (s *Store) Lease(ctx context.Context, session *skerry.Session) (err error) {
	session.Lease, err = s.kv.Grant(ctx, grace*session.TTL)
	return err
}

// CreateSession makes a session and returns its ID. A zero LockDelay stands for the
// default, a negative one for none.
func (s *Store) CreateSession(ctx context.Context, session skerry.Session) (string, error) {
	session.ID = once.ID(ctx)
	if !once.Replays(ctx) {
		if err := s.prepare(ctx, &session); err != nil {
			return "", err
		}
	}
	value, err := json.Marshal(session)
	if err != nil {
		return "", err
	}
	_, err = once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		if err := s.recordsHold(tx, &session); err != nil {
			return err
		}
		tx.Put(record.Sessions+session.ID, value, 0)
		tx.Put(record.BoundKey(&session), nil, 0)
		if session.TTL > 0 {
			tx.Put(record.Alive+session.ID, nil, session.Lease)
		}
		return nil
	})
	return session.ID, err
}

// prepare judges a session that is about to be made, and gives it a lease if it has a TTL.
func (s *Store) prepare(ctx context.Context, session *skerry.Session) error {
	if err := s.complete(session); err != nil || session.TTL == 0 {
		return err
	}
	return s.Lease(ctx, session)
}

// complete fills in the defaults of a session and judges it.
func (s *Store) complete(session *skerry.Session) error {
	if err := skerry.Bounded("Name", session.Name); err != nil {
		return err
	}
	switch session.Behavior {
	case "":
		session.Behavior = skerry.ReleaseKeys
	case skerry.ReleaseKeys, skerry.DeleteKeys:
	default:
		return skerry.Errorf(skerry.Invalid, "Invalid Behavior setting '%s'", session.Behavior)
	}
	if session.TTLText != "" {
		ttl, err := time.ParseDuration(session.TTLText)
		if err != nil {
			return skerry.Errorf(skerry.Invalid, "Session TTL '%s' invalid: %w", session.TTLText, err)
		}
		if ttl != 0 && (ttl < s.shortestTTL || ttl > longestTTL) {
			return skerry.Errorf(skerry.Invalid, "Invalid Session TTL '%d', must be between [%s=%s]", ttl, s.shortestTTL, longestTTL)
		}
		session.TTL = ttl
	}
	switch {
	case session.LockDelay == 0:
		session.LockDelay = defaultLockDelay
	case session.LockDelay < 0:
		session.LockDelay = 0
	}
	return s.checksHold(session)
}

// checksHold returns an error when the session's node or one of its checks is missing, or
// a check is critical.
func (s *Store) checksHold(session *skerry.Session) error {
	node := s.catalog.Node(session.Node)
	if node == nil {
		return unbound("Missing node registration")
	}
	for _, id := range boundChecks(session) {
		c := checkOf(node, id)
		if c == nil {
			return unbound("Missing check '%s' registration", id)
		}
		if c.Status == skerry.Critical {
			return unbound("Check '%s' is in critical state", id)
		}
	}
	return nil
}

// recordsHold returns an error when an external record that a session is bound to was
// removed, or turned critical, after the catalog was read.
func (s *Store) recordsHold(tx skerry.Tx, session *skerry.Session) error {
	owned, key := s.catalog.Owned(session.Node), record.NodeKey(session.Node)
	if owned == nil && tx.Get(record.ExternalNodes+key) == nil {
		return unbound("Missing node registration")
	}
	for _, id := range boundChecks(session) {
		if owned != nil && checkOf(owned, id) != nil {
			continue
		}
		c, err := record.DecodeExternal[skerry.Check](tx.Get(record.ExternalChecks + key + "/" + id))
		switch {
		case err != nil:
			return err
		case c == nil:
			return unbound("Missing check '%s' registration", id)
		case c.Status == skerry.Critical:
			return unbound("Check '%s' is in critical state", id)
		}
	}
	return nil
}

// unbound returns the error about a node or check that a session cannot be bound to.
func unbound(format string, args ...any) error {
	return &skerry.Error{Kind: skerry.Invalid, Subject: "session's check", Message: fmt.Sprintf(format, args...)}
}

// boundChecks returns the IDs of the checks that a session is bound to.
func boundChecks(session *skerry.Session) []string {
	out := append([]string(nil), session.NodeChecks...)
	for _, c := range session.ServiceChecks {
		out = append(out, c.ID)
	}
	return out
}

// checkOf returns the check of a node that has the ID, or nil.
func checkOf(node *skerry.NodeView, id string) *skerry.Check {
	for _, c := range node.Checks {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// RenewSession starts the time to the session's end anew. The error is of kind NotFound
// when there is no such session.
func (s *Store) RenewSession(ctx context.Context, id string) (*skerry.Session, error) {
	if err := s.kv.Sync(ctx); err != nil {
		return nil, err
	}
	session, err := s.Session(id)
	if err == nil && session != nil && session.TTL > 0 {
		err = s.kv.Renew(ctx, session.Lease)
	}
	if err == nil && session == nil {
		err = &skerry.Error{Kind: skerry.NotFound, Subject: "session", ID: id, Message: fmt.Sprintf("Session id '%s' not found", id)}
	}
	if skerry.KindOf(err) == skerry.NotFound {
		err = &skerry.Error{Kind: skerry.NotFound, Subject: "session", ID: id, Message: fmt.Sprintf("Session id '%s' not found", id), Err: err}
	}
	return session, err
}

// Session returns the session that has the ID, or nil.
func (s *Store) Session(id string) (*skerry.Session, error) {
	r := s.kv.Snapshot().Get(record.Sessions + id)
	if r == nil {
		return nil, nil
	}
	return record.DecodeSession(r)
}

// Sessions returns the sessions of a node in the order of their creation. An empty name
// stands for all nodes.
func (s *Store) Sessions(node string) ([]*skerry.Session, error) {
	all, err := sessionsIn(s.kv.Snapshot())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(one *skerry.Session) bool { return node != "" && !skerry.SameName(one.Node, node) }), nil
}

// sessionsIn returns the sessions that can be read, in the order of their creation. The
// error is about one that cannot.
func sessionsIn(at skerry.Snapshot) (out []*skerry.Session, err error) {
	for r := range at.All(skerry.Below(record.Sessions), "") {
		session, bad := record.DecodeSession(r)
		if bad != nil {
			err = bad
			continue
		}
		out = append(out, session)
	}
	slices.SortStableFunc(out, func(a, b *skerry.Session) int { return cmp.Compare(a.Created, b.Created) })
	return out, err
}

// WatchSession returns the index of the last change to a session, and a channel that is
// closed at the next change. An empty ID stands for all sessions.
func (s *Store) WatchSession(id string) (uint64, <-chan struct{}) {
	return s.kv.Watch(skerry.Range{Key: record.Sessions + id, Below: id == ""})
}

// ChangedSession returns the index that WatchSession returns.
func (s *Store) ChangedSession(id string) uint64 {
	return s.kv.Changed(skerry.Range{Key: record.Sessions + id, Below: id == ""})
}

// DestroySession ends a session. An unknown ID is no error.
func (s *Store) DestroySession(ctx context.Context, id string) error {
	var was *skerry.Session
	_, err := once.Update(ctx, s.kv, nil, func(tx skerry.Tx) error {
		var err error
		was, err = end(tx, id)
		return err
	})
	if err != nil || was == nil {
		return err
	}
	s.ended[byDestroyer].Add(1)
	if was.Lease != 0 {
		err = s.kv.Revoke(ctx, was.Lease)
	}
	return err
}
