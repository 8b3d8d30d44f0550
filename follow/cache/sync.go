package cache

import (
	"context"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// A caller that writes through this agent, and then asks it for a service, finds its change: the first
// question after a change has the server confirm the view.

// question waits for the server's word that a view has the changes up to a number.
type question struct {
	written  uint64
	answered chan struct{}
}

// Written notes that a server made a change for a caller of this agent.
func (c *Cache) Written() { c.written.Add(1) }

// sync waits until the view of a service has the changes that were made through this agent before, a second at most.
func (c *Cache) sync(ctx context.Context, s *service) {
	written := c.written.Load()
	if s.synced.Load() >= written || !c.stand.Load().up {
		return
	}
	q := c.question(s, written)
	late := time.NewTimer(knownWithin)
	defer late.Stop()
	select {
	case <-q.answered:
	case <-ctx.Done():
	case <-late.C:
		c.mu.Lock()
		defer c.mu.Unlock()
		s.confirmed(written) // one caller has waited: others get the view that is there
	}
}

// question asks the server whether a view has the changes up to a number, unless it was asked already.
func (c *Cache) question(s *service, written uint64) *question {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(s.asked); n > 0 && s.asked[n-1].written >= written {
		return s.asked[n-1]
	}
	q := &question{written, make(chan struct{})}
	if s.asked = append(s.asked, q); s.synced.Load() >= written {
		s.confirmed(written) // meanwhile
		return q
	}
	c.ask(follow.Ask{Sync: []follow.Sync{{Service: s.name, ID: written}}})
	return q
}

// confirmed notes that a view has the changes up to a number. It must be called with the cache's lock held.
func (s *service) confirmed(written uint64) {
	s.synced.Store(max(s.synced.Load(), written))
	for len(s.asked) > 0 && s.asked[0].written <= written {
		close(s.asked[0].answered)
		s.asked = s.asked[1:]
	}
}

// hasStored reports whether a view has records of the quorum store.
func (c *Cache) hasStored(v *skerry.View) bool {
	if v == nil {
		return false
	}
	foreign := c.cfg.Own.Foreign
	return slices.ContainsFunc(v.All(), func(e *skerry.Entry) bool {
		return foreign(e.Node.Modified) || foreign(e.Instance.Modified) ||
			slices.ContainsFunc(e.Checks, func(k *skerry.Check) bool { return foreign(k.Modified) })
	})
}
