package cache

import (
	"context"
	"time"

	"github.com/skerryhq/skerry/follow"
)

const (
	// countEvery is how often the readers here are counted during a drain.
	countEvery = 100 * time.Millisecond
	// countFor bounds the answers to a probe: a drain lasts no longer.
	countFor = 10 * time.Minute
	// maxProbes bounds the probes that are answered at once.
	maxProbes = 256
)

// Count returns the present count of the readers of a service since a change: see readers.Count.Now.
type Count func() (acked, pending, gone int, resolving time.Duration)

// probed answers a probe of the server: the change that it is about is in the view here. It must be called with mu
// held.
func (c *Cache) probed(ctx context.Context, p *follow.Probe) {
	found, ok := c.names.Load(p.Service)
	if !ok || c.probes >= maxProbes {
		c.ask(follow.Ask{Counts: []follow.Count{{ID: p.ID}}})
		return
	}
	var count Count
	if s := found.(*service); s.followed != nil && c.cfg.Count != nil {
		count = c.cfg.Count(p.Service, c.lay(s).Index)
	}
	if count == nil {
		c.ask(follow.Ask{Counts: []follow.Count{{ID: p.ID}}})
		return
	}
	c.probes++
	go c.counts(ctx, p.ID, count)
}

// counts sends a count to the server whenever it changes, until nothing is pending or the stream ends.
func (c *Cache) counts(ctx context.Context, id string, count Count) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.probes--
	}()
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	last := follow.Count{Acked: -1}
	for {
		acked, pending, gone, resolving := count()
		now := follow.Count{ID: id, Acked: acked, Pending: pending, Gone: gone, Resolving: resolving.Milliseconds()}
		if now.Acked != last.Acked || now.Pending != last.Pending || now.Gone != last.Gone || now.Resolving/1000 != last.Resolving/1000 || now.Resolving == 0 && last.Resolving > 0 {
			last = now
			c.mu.Lock()
			c.ask(follow.Ask{Counts: []follow.Count{now}})
			c.mu.Unlock()
		}
		if pending == 0 && resolving == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
