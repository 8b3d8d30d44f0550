//go:build linux

package storm

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// sessionTTL is that of a holder's session: the least that Consul allows.
	sessionTTL = 10 * time.Second
	// lockDelay is how long a lock cannot be taken after its session has ended.
	lockDelay = 2 * time.Second
	// confirmEvery is how often a holder renews its session and looks whose the lock is.
	confirmEvery = 300 * time.Millisecond
)

// holds are the times in which clients were sure to have a lock.
type holds struct {
	mu  sync.Mutex
	all []hold
}

func (h *holds) add(one hold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, one)
}

// holder is a client that takes a lock, keeps it for a while, and gives it back. It is sure
// of a lock until a TTL after its last renewal, and until a lock-delay after it last saw
// that the lock was its own: a session may also end with its node, and then the delay is
// all that it has.
type holder struct {
	s     *storm
	key   string
	roams bool          // it makes each call at another server, as behind a balancer
	keeps time.Duration // the longest that it keeps a lock
	turn  int
}

// server is the one that takes the next call.
func (h *holder) server() *api.Client {
	if h.roams {
		h.turn++
	}
	return h.s.servers[h.turn%len(h.s.servers)].client
}

func (h *holder) run(ctx context.Context) {
	for ctx.Err() == nil {
		h.once(ctx)
		h.turn++
		rest(ctx, rand.N(200*time.Millisecond))
	}
}

// rest waits for a time, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// once makes a session, and takes the lock with it if it can.
func (h *holder) once(ctx context.Context) {
	write := func(within time.Duration) (*api.WriteOptions, context.CancelFunc) {
		c, cancel := context.WithTimeout(ctx, within)
		return new(api.WriteOptions).WithContext(c), cancel
	}
	w, cancel := write(2 * time.Second)
	made := time.Now()
	id, _, err := h.server().Session().Create(&api.SessionEntry{
		Name: "storm", TTL: sessionTTL.String(), LockDelay: lockDelay, Behavior: api.SessionBehaviorRelease,
	}, w)
	cancel()
	if err != nil {
		return
	}
	defer func() {
		// Also at the end of the round: what is not destroyed ends by its TTL.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		h.turn++
		h.server().Session().Destroy(id, new(api.WriteOptions).WithContext(c))
	}()
	for range 20 {
		began := time.Now()
		w, cancel := write(3 * time.Second)
		done, _, err := h.server().KV().Acquire(&api.KVPair{Key: h.key, Session: id, Value: []byte(id)}, w)
		cancel()
		switch {
		case err != nil || ctx.Err() != nil:
			return // it may have it, and is not sure
		case done:
			h.hold(ctx, id, made, began)
			return
		}
		rest(ctx, rand.N(200*time.Millisecond))
	}
}

// hold keeps the lock for a while, as long as it is sure to have it. The session was made,
// and the lock acquired, by calls that began at those times.
func (h *holder) hold(ctx context.Context, id string, renewed, confirmed time.Time) {
	one := hold{key: h.key, session: id, from: time.Now()}
	sure := func() time.Time { return earlier(renewed.Add(sessionTTL), confirmed.Add(lockDelay)) }
	defer func() {
		if one.lockIndex > 0 && one.from.Before(one.to) {
			h.s.holds.add(one)
		}
	}()
	enough := time.Now().Add(h.keeps/4 + rand.N(h.keeps*3/4))
	for time.Now().Before(enough) && ctx.Err() == nil {
		// A server that hangs leaves time to ask another.
		c, cancel := context.WithDeadline(ctx, earlier(sure(), time.Now().Add(lockDelay/3)))
		at := time.Now()
		if is, _, err := h.server().Session().Renew(id, new(api.WriteOptions).WithContext(c)); err == nil && is != nil {
			renewed = at
		}
		at = time.Now()
		p, _, err := h.server().KV().Get(h.key, (&api.QueryOptions{RequireConsistent: true}).WithContext(c))
		cancel()
		one.to = earlier(time.Now(), sure())
		switch {
		case err == nil && (p == nil || p.Session != id):
			one.to = earlier(at, sure())
			return // the session has ended
		case err == nil:
			confirmed, one.lockIndex = at, p.LockIndex
		case !time.Now().Before(sure()):
			return
		}
		rest(ctx, confirmEvery)
	}
	one.to = earlier(time.Now(), sure())
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.server().KV().Release(&api.KVPair{Key: h.key, Session: id}, new(api.WriteOptions).WithContext(c))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
