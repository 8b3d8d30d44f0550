package cache

import (
	"time"

	"github.com/skerryhq/skerry/follow"
)

const (
	// sweepEvery is how often unused services are looked for.
	sweepEvery = 30 * time.Second
	// idleEmpty and idle are after which time without a question a service is not followed any more: one
	// without instances may be a made-up name.
	idleEmpty = time.Minute
	idle      = time.Hour
)

// sweep lets unused services go. While no server can be reached, all stay.
func (c *Cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.stand.Load().up
	c.names.Range(func(_, v any) bool {
		s := v.(*service)
		s.age(now)
		if up && s.idle(now) > s.limit() {
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

// open wakes those that wait until a further service may be followed. It must be called with mu held.
func (c *Cache) open() {
	close(c.more)
	c.more = make(chan struct{})
}

// drop stops to follow a service. Its waiters are woken.
func (c *Cache) drop(s *service) {
	c.names.Delete(s.name)
	c.count--
	c.open()
	close(s.changed)
	s.changed = make(chan struct{})
	c.ask(follow.Ask{Drop: []string{s.name}})
	select {
	case c.unwanted <- s.name:
	default: // its copy is followed after the next start, and removed later
	}
}
