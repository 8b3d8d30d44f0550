package session

import (
	"context"
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/decided/record"
)

// Change is a transaction that may end sessions. External records and sessions are in
// one store, so a session ends in the change that removes the node or check that it is
// bound to, and a read after the change does not show it. The Decider ends the sessions
// whose node or checks an owner announces.
type Change struct {
	skerry.Tx
	catalog Catalog
	ended   []ended
}

// ended is a session that a change ends, and why.
type ended struct {
	session *skerry.Session
	why     ending
	reason  string // why, for the log
}

// Update makes a change, and logs and counts the sessions that it ended. Like
// [skerry.KV].Update it may call f several times. outcome is that of [once.Update].
func (s *Store) Update(ctx context.Context, outcome any, f func(*Change) error) (uint64, error) {
	var c *Change
	index, own, err := once.Make(ctx, s.kv, outcome, func(tx skerry.Tx) error {
		c = s.Reading(tx)
		return f(c)
	})
	if err != nil || !own {
		return index, err
	}
	for _, e := range c.ended {
		s.note(e.session, e.why, e.reason)
		if e.session.Lease != 0 {
			// The lease holds no key that matters any more, and ends by itself.
			_ = s.kv.Revoke(ctx, e.session.Lease)
		}
	}
	return index, nil
}

// Reading returns a change on a transaction that only reads.
func (s *Store) Reading(tx skerry.Tx) *Change { return &Change{Tx: tx, catalog: s.catalog} }

// note logs and counts a session that this server ended.
func (s *Store) note(was *skerry.Session, why ending, reason string) {
	s.ended[why].Add(1)
	s.log.Info("a session ended", "session", was.ID, "name", was.Name, "node", was.Node, "reason", reason)
}

// EndWithCheck ends the sessions bound to an external check that is critical or gone: how
// is the word for it. A check that an owner announces under the same ID counts instead,
// and then no session ends. node is a [record.NodeKey].
func (c *Change) EndWithCheck(node, check, how string) error {
	if owned := c.catalog.Owned(record.NodeName(node)); owned != nil && checkOf(owned, check) != nil {
		return nil
	}
	return c.end(node, byCheck, "its check "+check+" is "+how, func(s *skerry.Session) bool {
		return slices.Contains(boundChecks(s), check)
	})
}

// EndWithNode ends the sessions of an external node that is about to be removed. Of a
// node that an owner announces too, it ends those that lose a check. node is a
// [record.NodeKey].
func (c *Change) EndWithNode(node string) error {
	owned := c.catalog.Owned(record.NodeName(node))
	if owned == nil {
		return c.end(node, byNode, "its node is gone", func(*skerry.Session) bool { return true })
	}
	return c.end(node, byCheck, "a check of it is gone", func(s *skerry.Session) bool {
		return slices.ContainsFunc(boundChecks(s), func(id string) bool {
			return checkOf(owned, id) == nil && c.Get(record.ExternalChecks+node+"/"+id) != nil
		})
	})
}

// end ends those sessions of a node that match.
func (c *Change) end(node string, why ending, reason string, match func(*skerry.Session) bool) error {
	prefix := record.Bound + node + "/"
	for _, r := range c.All(prefix) {
		id := r.Key[len(prefix):]
		s, err := record.SessionIn(c, id)
		if err == nil && s == nil {
			c.Delete(r.Key) // the session was damaged when it ended
			continue
		}
		if err != nil {
			s = &skerry.Session{ID: id} // it is damaged: its checks are not known, and no lock can be taken for it
		} else if !match(s) {
			continue
		}
		if _, err := end(c, id); err != nil {
			return err
		}
		c.ended = append(c.ended, ended{s, why, reason})
	}
	return nil
}

// end removes a session and the queries bound to it, and gives back its locks, in one
// change. It returns the session as it was, or nil.
func end(tx skerry.Tx, id string) (*skerry.Session, error) {
	r := tx.Get(record.Sessions + id)
	if r == nil || id == "" {
		return nil, nil
	}
	session, err := record.DecodeSession(r)
	if r.Damage != nil {
		// Only its ID is known. It can be ended all the same.
		session, err = &skerry.Session{ID: id, LockDelay: defaultLockDelay, TTL: defaultShortestTTL}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := kv.Release(tx, session); err != nil {
		return nil, err
	}
	if err := query.DropBound(tx, id); err != nil {
		return nil, err
	}
	tx.Delete(record.Sessions + id)
	if session.Node != "" {
		tx.Delete(record.BoundKey(session))
	}
	if session.TTL > 0 {
		tx.Delete(record.Alive + id)
	}
	return session, nil
}
