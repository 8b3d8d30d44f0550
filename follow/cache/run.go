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
	// spreadsWithin is how long after its registration an instance may be unknown to a server, since the server of its agent
	// died or was cut off before it had told the others: the agent has to move first.
	spreadsWithin = 8 * time.Second
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
	spread := time.NewTimer(spreadsWithin)
	defer spread.Stop()
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
		case <-spread.C:
			c.mu.Lock()
			c.release()
			c.mu.Unlock()
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
		want := follow.Want{Service: s.name, Digest: s.digest, Position: skerry.Position(s.position.Load())}
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
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	keep, due := time.NewTimer(keepAfter), true
	defer keep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirtied:
		case <-keep.C:
			if due = c.keep(false); due {
				keep.Reset(keepAfter)
			}
			continue
		case <-sweep.C:
			c.sweep(time.Now())
		}
		if !due {
			due = true
			keep.Reset(keepAfter)
		}
	}
}
