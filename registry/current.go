package registry

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// current is since when this server may have missed changes. It is read at each answer to a
// client, without the registry's lock.
type current struct {
	born    time.Time
	at      atomic.Int64 // the last moment at which it had all that a majority had, since born
	without atomic.Bool  // it hears no majority
}

// late is how long a server that is cut off does not notice it, and how long a server may
// lag without a word of it.
const late = 2 * time.Second

// note is called at each tick.
func (c *current) note(now time.Time, core *cluster.Server) {
	c.without.Store(core.Minority())
	if core.Current() {
		c.at.Store(int64(now.Sub(c.born)))
	}
}

// Age returns for how long this server may have missed changes of the catalog: 0 while it
// hears a majority of the servers.
func (r *Registry) Age() time.Duration {
	c := &r.current
	ago := r.cfg.Now().Sub(c.born) - time.Duration(c.at.Load())
	switch {
	case c.without.Load():
		return ago + late
	case ago > late:
		return ago
	default:
		return 0
	}
}

// catching is a call of CatchUp that waits.
type catching struct {
	heads map[cluster.ServerID]cluster.Pos
	asked time.Time
	done  chan struct{}
}

// askAgain is the time after which servers are asked again: a frame may be lost, as when
// this process was stopped and its connections ended.
const askAgain = 500 * time.Millisecond

// CatchUp waits until the catalog has all that the other servers had accepted when it was
// called: those that it hears, and a majority with this one. Without a majority it waits until
// ctx ends, and returns an error of kind Unavailable.
func (r *Registry) CatchUp(ctx context.Context) error {
	c := &catching{heads: map[cluster.ServerID]cluster.Pos{}, done: make(chan struct{})}
	r.mu.Lock()
	r.asked++
	n := r.asked
	r.catching[n] = c
	r.askHeads(r.cfg.Now())
	r.caught()
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.catching, n)
		r.mu.Unlock()
	}()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return skerry.Errorf(skerry.Unavailable, "No cluster leader: this server hears no majority of the servers")
	}
}

// askHeads asks the other servers for their heads, for each call that waits. It must be
// called with mu held.
func (r *Registry) askHeads(now time.Time) {
	for n, c := range r.catching {
		if now.Sub(c.asked) >= askAgain {
			c.asked = now
			r.post.add([]cluster.Envelope{{Message: cluster.HeadAsk{N: n}}}, r.whole)
		}
	}
}

// headed takes the answer to a question of CatchUp. It must be called with mu held.
func (r *Registry) headed(from cluster.ServerID, m cluster.Head) {
	if c := r.catching[m.N]; c != nil {
		c.heads[from] = m.Pos
	}
}

// caught ends the waits whose changes are there. It must be called with mu held, after each
// step.
func (r *Registry) caught() {
	maps.DeleteFunc(r.catching, func(_ uint64, c *catching) bool {
		if !r.core.Caught(c.heads) {
			return false
		}
		close(c.done)
		return true
	})
}
