package client

import (
	"context"
	"time"
)

// service follows one service for all its watchers.
type service struct {
	c    *Client
	name string
	disk *cacheFile

	keeper  keeper        // guarded by c.mu, as all below
	now     *Snapshot     // nil while nothing is known; read without c.mu, so never changed
	since   time.Time     // in place of now's, which a confirmation leaves as it is
	changed chan struct{} // closed when now is another
	users   int
	idle    *time.Timer // ends the following a while after the last watcher has left
	cancel  context.CancelFunc
}

// follow returns the service, which is followed from now on until release.
func (c *Client) follow(name string) (*service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s := c.services[name]
	if s == nil {
		s = &service{c: c, name: name, changed: make(chan struct{}), disk: newCacheFile(c.o.cacheDir, c.o.place, name, c.o.log)}
		s.keeper = keeper{hold: c.o.hold, maxAge: c.o.maxAge, shrink: c.o.shrink, freshness: Cold}
		c.services[name] = s
		if s.disk.load(&s.keeper) && !s.keeper.tick(time.Now()) || s.keeper.known {
			s.publish()
		}
		ctx, cancel := context.WithCancel(c.ctx)
		s.cancel = cancel
		c.done.Go(func() { s.run(ctx) })
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	return s, nil
}

// release ends a use of the service.
func (s *service) release() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.users--; s.users > 0 || s.c.closed {
		return
	}
	s.idle = time.AfterFunc(s.c.o.linger, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if s.users == 0 && s.c.services[s.name] == s {
			delete(s.c.services, s.name)
			s.cancel()
		}
	})
}

// current returns the list, when it was last confirmed, and a channel that is closed when
// the list changes.
func (s *service) current() (now *Snapshot, since time.Time, changed <-chan struct{}) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.now, s.since, s.changed
}

// at returns the snapshot as confirmed at that time.
func (s *Snapshot) at(since time.Time) Snapshot {
	out := *s
	out.Since = since
	return out
}

// publish shows the keeper's list. Called with c.mu held.
func (s *service) publish() {
	next := s.keeper.snapshot(s.name)
	if s.since = next.Since; s.now != nil && s.now.same(next) {
		return
	}
	s.now = next
	close(s.changed)
	s.changed = make(chan struct{})
}

// same reports whether next means no change for a watcher.
func (s *Snapshot) same(next *Snapshot) bool {
	if s.Freshness != next.Freshness || s.Position != next.Position || s.Held != next.Held || len(s.Instances) != len(next.Instances) || (s.Err == nil) != (next.Err == nil) {
		return false
	}
	for i := range s.Instances {
		if !s.Instances[i].Equal(&next.Instances[i]) {
			return false
		}
	}
	return true
}

// run follows the source until ctx ends.
func (s *service) run(ctx context.Context) {
	log := s.c.o.log.With("service", s.name)
	updates := make(chan func(time.Time))
	source := func() {
		defer close(updates)
		for u, err := range s.c.source.Watch(context.WithValue(ctx, rules{}, &s.c.o), s.name) {
			take := func(now time.Time) { s.keeper.take(now, &u) }
			if err != nil {
				take = func(time.Time) { s.keeper.fail(err) }
			}
			select {
			case updates <- take:
			case <-ctx.Done():
				return
			}
		}
	}
	s.c.done.Go(source)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case take, ok := <-updates:
			if !ok {
				if ctx.Err() == nil {
					log.Error("the source has stopped following the service; its list stays as it is")
				}
				updates = nil
				continue
			}
			s.change(take)
		case <-timer.C:
			s.change(func(now time.Time) {
				if s.keeper.tick(now) {
					log.Warn("instances that the source has not named for long are gone", "left", len(s.keeper.kept))
				}
			})
		case <-s.disk.due():
			s.write()
		case <-ctx.Done():
			if s.disk.dirty {
				s.write()
			}
			return
		}
		s.c.mu.Lock()
		next := s.keeper.next()
		s.c.mu.Unlock()
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

func (s *service) write() {
	s.c.mu.Lock()
	body := encode(s.name, &s.keeper)
	s.c.mu.Unlock()
	s.disk.write(body)
}

// change lets f change the keeper, and shows the result.
func (s *service) change(f func(now time.Time)) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	was, held := s.keeper.freshness, 0
	if s.now != nil {
		held = s.now.Held
	}
	f(time.Now())
	if !s.keeper.known {
		return
	}
	s.publish()
	s.disk.keep(&s.keeper)
	log := s.c.o.log.With("service", s.name)
	if s.now.Freshness != was {
		log.Info("the list of instances is "+s.now.Freshness.String()+" now", "was", was.String(), "instances", len(s.now.Instances), "error", s.now.Err)
	}
	if s.now.Held > held {
		log.Warn("the source names fewer instances, without proof that they are gone: they are held", "held", s.now.Held, "instances", len(s.now.Instances))
	}
}
