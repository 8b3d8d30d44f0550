package decided

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// External records and sessions are in one store, so a session ends in the change that
// takes away what it is bound to: a read after the write does not show it. Sessions
// bound to what agents and leases announce are ended by the decider.

// Change is a transaction that may end sessions.
type Change struct {
	skerry.Tx
	ended []ended
}

// ended is a session that a change ends, and why.
type ended struct {
	session *skerry.Session
	why     ending
	told    string // why, in words
}

// update makes a change of external records.
func (x *Externals) update(ctx context.Context, f func(*Change) error) (uint64, error) {
	return change(ctx, x.Store, x.KV, x.Log, f)
}

// change makes a change and tells of the sessions that ended with it.
func change(ctx context.Context, s *Store, kv skerry.KV, log *slog.Logger, f func(*Change) error) (uint64, error) {
	var c *Change
	index, err := kv.Update(ctx, func(tx skerry.Tx) error {
		c = &Change{Tx: tx}
		return f(c)
	})
	if err != nil {
		return index, err
	}
	for _, e := range c.ended {
		if s != nil {
			s.counts.ended[e.why].Add(1)
		}
		tellEnd(log, e.session, e.told)
		if e.session.Lease != 0 {
			// It holds nothing any more; what is left of it ends by itself.
			_ = kv.Revoke(ctx, e.session.Lease)
		}
	}
	return index, nil
}

func tellEnd(log *slog.Logger, s *skerry.Session, why string) {
	log.Info("a session ended", "session", s.ID, "name", s.Name, "node", s.Node, "reason", why)
}

func boundKey(s *skerry.Session) string { return boundPrefix + nodeKeyOf(s.Node) + "/" + s.ID }

var unescaper = strings.NewReplacer("%25", "%", "%2F", "/")

// endWith ends the sessions bound to an external check that is critical or gone, unless
// an owner announces one of that ID: then that one counts.
func (x *Externals) endWith(tx *Change, node, check, how string) error {
	if x.ownedCheck(unescaper.Replace(node), check) != nil {
		return nil
	}
	return endBound(tx, node, byCheck, "its check "+check+" is "+how, func(s *skerry.Session) bool {
		return slices.Contains(boundChecks(s), check)
	})
}

// endWithNode ends the sessions of an external node that goes. Of a node that an owner
// announces too, it ends those that lose a check.
func (x *Externals) endWithNode(tx *Change, node string) error {
	owned := x.Catalog.Owned(unescaper.Replace(node))
	if owned == nil {
		return endBound(tx, node, byNode, "its node is gone", func(*skerry.Session) bool { return true })
	}
	return endBound(tx, node, byCheck, "a check of it is gone", func(s *skerry.Session) bool {
		return slices.ContainsFunc(boundChecks(s), func(id string) bool {
			return checkOf(owned, id) == nil && tx.Get(extCheck+node+"/"+id) != nil
		})
	})
}

// endBound ends those sessions of a node that match.
func endBound(tx *Change, node string, why ending, told string, match func(*skerry.Session) bool) error {
	prefix := boundPrefix + node + "/"
	for _, r := range tx.All(prefix) {
		id := r.Key[len(prefix):]
		s, err := sessionIn(tx, id)
		if err == nil && s == nil {
			tx.Delete(r.Key) // it was damaged when it ended
			continue
		}
		if err != nil {
			s = &skerry.Session{ID: id} // damaged: what it is bound to is not known, nor does it serve any more
		} else if !match(s) {
			continue
		}
		if _, err := endSession(tx, id); err != nil {
			return err
		}
		tx.ended = append(tx.ended, ended{s, why, told})
	}
	return nil
}

// recordsHold reports what went of the external records that a session is bound to
// after the catalog was looked at.
func (s *Store) recordsHold(tx skerry.Tx, session *skerry.Session) error {
	owners, ok := s.Catalog.(Owned)
	if !ok {
		return nil
	}
	owned, key := owners.Owned(session.Node), nodeKeyOf(session.Node)
	if owned == nil && tx.Get(extNode+key) == nil {
		return unbound("Missing node registration")
	}
	for _, id := range boundChecks(session) {
		if owned != nil && checkOf(owned, id) != nil {
			continue
		}
		c, err := decodeExternal[skerry.Check](tx.Get(extCheck + key + "/" + id))
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
