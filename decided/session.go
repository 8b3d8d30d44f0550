package decided

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
)

// The bounds of a session, as in Consul.
const (
	defaultLockDelay   = 15 * time.Second
	defaultShortestTTL = 10 * time.Second
	longestTTL         = 24 * time.Hour
)

// grace is how many TTLs pass between a session's last renewal and its end. It is two,
// as in Consul: clients written for it are still at work one TTL after a renewal that
// failed, and hand over what the lock guards before the second has passed.
const grace = 2

// lease starts the time after which a session ends unless it is renewed.
func (s *Store) lease(ctx context.Context, session *skerry.Session) (err error) {
	session.Lease, err = s.KV.Grant(ctx, grace*session.TTL)
	return err
}

func decodeSession(r *skerry.Record) (*skerry.Session, error) {
	if r.Damage != nil {
		return nil, r.Damage
	}
	s := &skerry.Session{}
	if err := json.Unmarshal(r.Value, s); err != nil {
		return nil, fmt.Errorf("the session %q is damaged in the store: %w", r.Key, err)
	}
	s.Created, s.Modified = r.Created, r.Modified
	return s, nil
}

// sessionIn returns a session as a transaction sees it, or nil.
func sessionIn(tx skerry.Tx, id string) (*skerry.Session, error) {
	r := tx.Get(sessionPrefix + id)
	if r == nil || id == "" {
		return nil, nil
	}
	return decodeSession(r)
}

// liveSession returns a session that may hold locks, or nil.
func liveSession(tx skerry.Tx, id string) (*skerry.Session, error) {
	s, err := sessionIn(tx, id)
	if err != nil || s == nil || s.TTL == 0 {
		return s, err
	}
	if tx.Get(alivePrefix+id) == nil {
		return nil, nil // its TTL has passed; it is about to be removed
	}
	return s, nil
}

// CreateSession makes a session and returns its ID. A zero LockDelay means the
// default; a negative one, none.
func (s *Store) CreateSession(ctx context.Context, session skerry.Session) (string, error) {
	if err := s.completeSession(&session); err != nil {
		return "", err
	}
	session.ID = uuid.NewString()
	if session.TTL > 0 {
		if err := s.lease(ctx, &session); err != nil {
			return "", err
		}
	}
	value, err := json.Marshal(session)
	if err != nil {
		return "", err
	}
	_, err = s.KV.Update(ctx, func(tx skerry.Tx) error {
		if err := s.recordsHold(tx, &session); err != nil {
			return err
		}
		tx.Put(sessionPrefix+session.ID, value, 0)
		tx.Put(boundKey(&session), nil, 0)
		if session.TTL > 0 {
			tx.Put(alivePrefix+session.ID, nil, session.Lease)
		}
		return nil
	})
	return session.ID, err
}

// completeSession fills in the defaults and judges what was asked for.
func (s *Store) completeSession(session *skerry.Session) error {
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
		shortest := s.ShortestTTL
		if shortest == 0 {
			shortest = defaultShortestTTL
		}
		if ttl != 0 && (ttl < shortest || ttl > longestTTL) {
			return skerry.Errorf(skerry.Invalid, "Invalid Session TTL '%d', must be between [%s=%s]", ttl, shortest, longestTTL)
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

// checksHold reports what is missing or critical of that which the session is bound to.
func (s *Store) checksHold(session *skerry.Session) error {
	node := s.Catalog.Node(session.Node)
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

// unbound says that what the session is bound to does not hold.
func unbound(format string, args ...any) error {
	return &skerry.Error{Kind: skerry.Invalid, Subject: "session's check", Message: fmt.Sprintf(format, args...)}
}

func boundChecks(session *skerry.Session) []string {
	out := append([]string(nil), session.NodeChecks...)
	for _, c := range session.ServiceChecks {
		out = append(out, c.ID)
	}
	return out
}

func checkOf(node *skerry.NodeView, id string) *skerry.Check {
	for _, c := range node.Checks {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// RenewSession starts the time to the session's end anew. The error is of kind NotFound when
// there is no such session.
func (s *Store) RenewSession(ctx context.Context, id string) (*skerry.Session, error) {
	if err := s.KV.Sync(ctx); err != nil {
		return nil, err
	}
	session, err := s.Session(id)
	if err == nil && session != nil && session.TTL > 0 {
		err = s.KV.Renew(ctx, session.Lease)
	}
	if err == nil && session == nil {
		err = &skerry.Error{Kind: skerry.NotFound, Subject: "session", ID: id, Message: fmt.Sprintf("Session id '%s' not found", id)}
	}
	if skerry.KindOf(err) == skerry.NotFound {
		err = &skerry.Error{Kind: skerry.NotFound, Subject: "session", ID: id, Message: fmt.Sprintf("Session id '%s' not found", id), Err: err}
	}
	return session, err
}

// Session returns a session, or nil.
func (s *Store) Session(id string) (*skerry.Session, error) {
	r := s.KV.Snapshot().Get(sessionPrefix + id)
	if r == nil {
		return nil, nil
	}
	return decodeSession(r)
}

// Sessions returns all sessions, or those of one node, ordered by their creation.
func (s *Store) Sessions(node string) ([]*skerry.Session, error) {
	all, err := sessionsOf(s.KV.Snapshot())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(one *skerry.Session) bool { return node != "" && !skerry.SameName(one.Node, node) }), nil
}

// sessionsOf returns the sessions that can be read, ordered by their creation, and
// why others cannot.
func sessionsOf(at skerry.Snapshot) (out []*skerry.Session, err error) {
	for r := range at.All(skerry.Below(sessionPrefix), "") {
		session, bad := decodeSession(r)
		if bad != nil {
			err = bad
			continue
		}
		out = append(out, session)
	}
	slices.SortStableFunc(out, func(a, b *skerry.Session) int { return cmp.Compare(a.Created, b.Created) })
	return out, err
}

// WatchSession returns the index of the last change to a session, or to any when
// id is empty, and a channel that is closed at the next.
func (s *Store) WatchSession(id string) (uint64, <-chan struct{}) {
	return s.KV.Watch(skerry.Range{Key: sessionPrefix + id, Below: id == ""})
}

// ChangedSession is WatchSession's index alone.
func (s *Store) ChangedSession(id string) uint64 {
	return s.KV.Changed(skerry.Range{Key: sessionPrefix + id, Below: id == ""})
}

// DestroySession ends a session. The unknown is no error.
func (s *Store) DestroySession(ctx context.Context, id string) error {
	var was *skerry.Session
	_, err := s.KV.Update(ctx, func(tx skerry.Tx) error {
		var err error
		was, err = endSession(tx, id)
		return err
	})
	if err != nil || was == nil {
		return err
	}
	s.counts.ended[byDestroyer].Add(1)
	if was.Lease != 0 {
		err = s.KV.Revoke(ctx, was.Lease)
	}
	return err
}

// endSession removes a session with the queries bound to it and gives back what
// it held, in one change. It returns what the session was, or nil.
func endSession(tx skerry.Tx, id string) (*skerry.Session, error) {
	r := tx.Get(sessionPrefix + id)
	if r == nil || id == "" {
		return nil, nil
	}
	session, err := decodeSession(r)
	if r.Damage != nil {
		// Nothing is known but that it is there: so much can be ended.
		session, err = &skerry.Session{ID: id, LockDelay: defaultLockDelay, TTL: defaultShortestTTL}, nil
	}
	if err != nil {
		return nil, err
	}
	held := heldPrefix + id + "/"
	for _, h := range tx.All(held) {
		e, err := getEntry(tx, h.Key[len(held):])
		if err != nil {
			return nil, err
		}
		tx.Delete(h.Key)
		if e == nil || e.Session != id {
			continue
		}
		if delay := session.LockDelay; delay > 0 {
			tx.Put(delayPrefix+e.Key, []byte(delay.String()), 0)
		}
		if session.Behavior == skerry.DeleteKeys {
			tx.Delete(keyPrefix + e.Key)
			continue
		}
		e.Session = ""
		tx.Put(keyPrefix+e.Key, encodeEntry(e), 0)
	}
	if err := dropQueriesOf(tx, id); err != nil {
		return nil, err
	}
	tx.Delete(sessionPrefix + id)
	if session.Node != "" {
		tx.Delete(boundKey(session))
	}
	if session.TTL > 0 {
		tx.Delete(alivePrefix + id)
	}
	return session, nil
}
