package cache

import (
	"context"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// The agent's own registrations are known here before a server has them, and they are right while none can be
// reached. So they are laid over each followed view.

// Carry implements [skerry.Carrier]: the cache learns that the own set changed.
func (c *Cache) Carry(skerry.OwnerID, skerry.OwnerKind, time.Duration, skerry.Source) skerry.Outbox {
	c.Changed(skerry.Version{}, skerry.Version{}, skerry.Delta{}, 0)
	return c
}

// Changed implements [skerry.Outbox]. The change is in Own already.
func (c *Cache) Changed(_, _ skerry.Version, _ skerry.Delta, _ uint64) {
	c.turns.Add(1)
	signal(c.laying)
}

// layer lays the own set over views that are waited for, after each change of it.
func (c *Cache) layer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.laying:
		}
		c.names.Range(func(_, v any) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			if s := v.(*service); s.followed != nil {
				c.lay(s)
			}
			return true
		})
	}
}

// lay returns the present view of a service, and wakes its waiters if it is a new one. It must be called with mu
// held.
func (c *Cache) lay(s *service) *skerry.View {
	turn, was := c.turns.Load(), s.laid.Load()
	if was != nil && was.turn == turn && was.followed == s.followed {
		return was.view
	}
	now := &laid{turn: turn, followed: s.followed, own: c.cfg.Own.Service(s.name)}
	if was != nil && was.followed == s.followed && sameOwn(was.own, now.own) {
		now.view = was.view
		s.laid.Store(now)
		return now.view
	}
	now.view = c.over(s.followed, now.own)
	now.view.Index = c.cfg.Own.Issue()
	s.laid.Store(now)
	close(s.changed)
	s.changed = make(chan struct{})
	return now.view
}

func sameOwn(a, b *skerry.View) bool {
	return a == b || len(a.Entries)+len(a.Draining)+len(b.Entries)+len(b.Draining) == 0
}

// over returns a followed view with the own entries in place of those that the server has of this owner.
func (c *Cache) over(followed, own *skerry.View) *skerry.View {
	v := &skerry.View{Service: followed.Service, Cause: followed.Cause}
	mine, theirs := own.All(), followed.All()
	all := make([]*skerry.Entry, 0, len(theirs)+len(mine))
	for _, e := range theirs {
		for len(mine) > 0 && mine[0].Compare(e) < 0 {
			all, mine = append(all, mine[0]), mine[1:]
		}
		replaced := len(mine) > 0 && mine[0].Compare(e) == 0
		if e.Owner != c.cfg.Owner && !replaced {
			all = append(all, e)
		}
	}
	v.SetAll(append(all, mine...))
	for _, e := range v.Entries {
		if !slices.Contains(v.Names, e.Instance.Service) {
			v.Names = append(v.Names, e.Instance.Service)
		}
		if e.Guarded {
			v.Guarded++
		}
	}
	slices.Sort(v.Names)
	switch {
	case len(v.Entries) > 0 && v.Guarded == 0:
		v.Cause = skerry.CauseNone
	case len(v.Entries) == 0 && len(v.Draining) > 0:
		v.Cause = skerry.CauseDraining
	case len(v.Entries) == 0 && v.Cause == skerry.CauseNone:
		v.Cause = own.Cause // the only entries were this agent's, which withdrew them
	}
	return v
}
