package cache

import (
	"context"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/rest"
)

const (
	// moveEvery is how often it is looked whether the agent is attached to another server.
	moveEvery = 500 * time.Millisecond
	// sweepEvery is how often unused services are looked for.
	sweepEvery = 30 * time.Second
	// idleEmpty and idle are after which time without a question a service is not followed any more: one
	// without instances may be a made-up name.
	idleEmpty = time.Minute
	idle      = time.Hour
	// maxWait is the longest time that a query waits for a change, in seconds.
	maxWait = 11 * 60
	// maxName is the length of the longest name that is followed, in bytes.
	maxName = 512
)

// Run follows at a server, and at another one when that is gone, until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { c.layer(ctx) })
	loops.Go(func() { c.every(ctx) })
	c.follows(ctx)
	loops.Wait()
	c.keep(true)
}

func (c *Cache) follows(ctx context.Context) {
	for ctx.Err() == nil {
		name, address, ok := c.pick()
		if !ok {
			sleep(ctx, rest.First)
			continue
		}
		began := time.Now()
		err := c.session(ctx, name, address)
		if err == nil || ctx.Err() != nil {
			continue // it moved, or all ends
		}
		if time.Since(began) > rest.Longest {
			c.resting.Worked(name)
		}
		if c.resting.Failed(name, err) {
			c.cfg.Log.Warn("services are not followed at a server any more", "server", name, "error", err)
		}
	}
}

// pick returns the server to follow at.
func (c *Cache) pick() (name, address string, ok bool) { return c.cfg.Pick(c.resting.Resting()...) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// session follows at one server. The error is nil if the agent is attached to another one meanwhile.
func (c *Cache) session(ctx context.Context, name, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.cfg.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer stream.Close()
	number := c.begin(name)
	defer c.end()
	ended := make(chan error, 1)
	go func() {
		for {
			frame, err := stream.Receive()
			if err == nil {
				err = c.take(ctx, number, frame)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	move := time.NewTicker(moveEvery)
	defer move.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-c.asking:
			c.mu.Lock()
			ask := c.asks
			c.asks = follow.Ask{}
			c.mu.Unlock()
			if err := stream.Send(follow.Encode(ask)); err != nil {
				return err
			}
		case <-move.C:
			if now, _, ok := c.pick(); ok && now != name {
				return nil
			}
		}
	}
}

// begin starts a stream, and returns its number: the server is asked for everything.
func (c *Cache) begin(server string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.stand.Load()
	c.stand.Store(&stand{stream: was.stream + 1, server: server, lost: was.lost})
	c.asks = follow.Ask{}
	if c.cfg.Token != nil {
		c.asks.Token = c.cfg.Token()
	}
	c.names.Range(func(_, v any) bool {
		s := v.(*service)
		s.part = nil
		want := follow.Want{Service: s.name, Digest: s.digest}
		if c.hasStored(s.followed) {
			want.Digest = "" // it does not cover their stamps
		}
		c.ask(follow.Ask{Follow: []follow.Want{want}})
		for _, q := range s.asked {
			c.ask(follow.Ask{Sync: []follow.Sync{{Service: s.name, ID: q.written}}})
		}
		return true
	})
	signal(c.asking) // the first message asks for admission
	return was.stream + 1
}

// end notes that the views may become old from now on.
func (c *Cache) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := *c.stand.Load()
	if st.up {
		st.up, st.lost = false, time.Now().Add(-st.stale())
		c.stand.Store(&st)
	}
}

// every keeps copies on disk, and lets unused services go.
func (c *Cache) every(ctx context.Context) {
	keep, sweep := time.NewTicker(keepEvery), time.NewTicker(sweepEvery)
	defer keep.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-keep.C:
			c.keep(false)
		case <-sweep.C:
			c.sweep(time.Now())
		}
	}
}

// sweep lets unused services go. While no server can be reached, all stay.
func (c *Cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stand.Load().up {
		return
	}
	c.names.Range(func(_, v any) bool {
		if s := v.(*service); s.idle(now) > s.limit() {
			c.drop(s)
		}
		return true
	})
}

// idle is the time since the service was read or waited for last.
func (s *service) idle(now time.Time) time.Duration {
	return time.Duration(now.Unix()-s.used.Load()) * time.Second
}

// limit is the time after which the service is not followed any more.
func (s *service) limit() time.Duration {
	if s.followed == nil || len(s.followed.All()) == 0 {
		return idleEmpty
	}
	return idle
}

// share is the part of its limit that the service has been idle for.
func (s *service) share(now time.Time) float64 { return float64(s.idle(now)) / float64(s.limit()) }

// evict makes room for one more service: an idle one goes. It must be called with mu held, as drop must.
func (c *Cache) evict() bool {
	now := time.Now()
	var longest *service
	c.names.Range(func(_, v any) bool {
		if s := v.(*service); longest == nil || s.share(now) > longest.share(now) {
			longest = s
		}
		return true
	})
	if longest == nil || longest.idle(now) <= idleEmpty {
		return false
	}
	c.drop(longest)
	return true
}

// drop stops to follow a service. Its waiters are woken.
func (c *Cache) drop(s *service) {
	c.names.Delete(s.name)
	c.count--
	close(s.changed)
	s.changed = make(chan struct{})
	c.ask(follow.Ask{Drop: []string{s.name}})
	select {
	case c.unwanted <- s.name:
	default: // its copy is followed after the next start, and removed later
	}
}

// Catalog returns the catalog of an agent: the services that it follows, and beside them its own set.
func (c *Cache) Catalog() skerry.Catalog { return catalog{c.cfg.Own, c} }

type catalog struct {
	skerry.Catalog
	cache *Cache
}

// Service implements [skerry.Catalog].
func (c catalog) Service(name string) *skerry.View {
	if v := c.cache.Known(name); v != nil {
		return v
	}
	return c.Catalog.Service(name)
}

// Watch implements [skerry.Catalog].
func (c catalog) Watch(t skerry.Topic) (uint64, <-chan struct{}) { return c.cache.Watch(t) }
