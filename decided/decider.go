package decided

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
)

// The decider is the one server that ends sessions and lock-delays, since those
// are decisions by clock and by a view of the catalog, and two clocks or views
// would differ. It is chosen by a key bound to a lease; every decision is a
// transaction that reads this key, so one who was replaced without knowing it
// decides nothing.

const (
	// termTTL is how long a dead decider keeps others from deciding.
	termTTL = 10 * time.Second
	// retryEvery is how often the others look, beside being woken.
	retryEvery = time.Second
	// settle gathers changes of the catalog before sessions are looked through.
	settle = 50 * time.Millisecond
	// knownAfter is when a decider believes that a node which it has never seen is
	// not there: until then its agent may just not have announced itself yet.
	knownAfter = time.Minute
)

// Decider runs on every server; one of them decides.
type Decider struct {
	Store *Store
	Self  string // this server: unique, and the same after a restart
	Log   *slog.Logger

	leading atomic.Bool
}

// Leading reports whether this server decides now.
func (d *Decider) Leading() bool { return d.leading.Load() }

// errReplaced says that another server decides.
var errReplaced = errors.New("another server decides")

// Run takes part until ctx ends, then gives the office up.
func (d *Decider) Run(ctx context.Context) {
	for ctx.Err() == nil {
		term, err := d.elect(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Debug("no decider could be chosen", "error", err)
		}
		if term != nil {
			d.Log.Info("this server decides on sessions and locks")
			d.leading.Store(true)
			term.serve(ctx)
			d.leading.Store(false)
			if ctx.Err() == nil {
				d.Log.Warn("this server no longer decides on sessions and locks")
			}
			continue
		}
		_, changed := d.Store.KV.Watch(skerry.Only(leaderKey))
		timer := time.NewTimer(retryEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// term is one server's time in office.
type term struct {
	d     *Decider
	lease skerry.LeaseID
	since time.Time
	// seen are the nodes, and node/check pairs, that were there during this term.
	seen map[string]bool
	// delays are the ends of the lock-delays, by this server's clock.
	delays map[string]time.Time
}

// elect returns a term when the office was free, or was this server's own before
// a restart.
func (d *Decider) elect(ctx context.Context) (*term, error) {
	kv := d.Store.KV
	if r := kv.Snapshot().Get(leaderKey); r != nil && r.Damage == nil && string(r.Value) != d.Self {
		return nil, nil
	}
	lease, err := kv.Grant(ctx, termTTL)
	if err != nil {
		return nil, err
	}
	var old skerry.LeaseID
	_, err = kv.Update(ctx, func(tx skerry.Tx) error {
		old = 0
		if r := tx.Get(leaderKey); r != nil {
			if r.Damage == nil && string(r.Value) != d.Self {
				return errReplaced
			}
			old = r.Lease
		}
		tx.Put(leaderKey, []byte(d.Self), lease)
		return nil
	})
	if err != nil {
		kv.Revoke(ctx, lease)
		if errors.Is(err, errReplaced) {
			return nil, nil
		}
		return nil, err
	}
	if old != 0 {
		kv.Revoke(ctx, old)
	}
	return &term{d: d, lease: lease, since: time.Now(), seen: map[string]bool{}, delays: map[string]time.Time{}}, nil
}

// update makes a decision, if this term still lasts.
func (t *term) update(ctx context.Context, change func(skerry.Tx) error) error {
	_, err := t.d.Store.KV.Update(ctx, func(tx skerry.Tx) error {
		if r := tx.Get(leaderKey); r == nil || r.Lease != t.lease {
			return errReplaced
		}
		return change(tx)
	})
	return err
}

// serve decides until the term or ctx ends.
func (t *term) serve(ctx context.Context) {
	renewed := make(chan error, 1)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { renewed <- t.renew(inner) }()
	defer t.resign(renewed, cancel)
	kv, catalog := t.d.Store.KV, t.d.Store.Catalog
	for {
		_, sessions := kv.Watch(skerry.Below(sessionPrefix))
		_, alive := kv.Watch(skerry.Below(alivePrefix))
		_, delayed := kv.Watch(skerry.Below(delayPrefix))
		_, checks := catalog.Watch(skerry.Topic{Kind: skerry.TopicChecks})
		_, nodes := catalog.Watch(skerry.Topic{Kind: skerry.TopicNodes})
		next, err := t.decide(ctx)
		if errors.Is(err, errReplaced) || ctx.Err() != nil {
			return
		}
		if err != nil {
			t.d.Log.Warn("a decision on sessions or locks failed and is tried again", "error", err)
			next = retryEvery
		}
		timer := time.NewTimer(next)
		select {
		case <-sessions:
		case <-alive:
		case <-delayed:
		case <-checks:
			pause(ctx, settle)
		case <-nodes:
			pause(ctx, settle)
		case <-timer.C:
		case err := <-renewed:
			renewed <- err
			timer.Stop()
			return
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// renew keeps the term's lease until ctx or the lease ends.
func (t *term) renew(ctx context.Context) error {
	tick := time.NewTicker(termTTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// What cannot be asked now may be answered later; the lease says when it is over.
			if err := t.d.Store.KV.Renew(ctx, t.lease); skerry.KindOf(err) == skerry.NotFound {
				return err
			}
		}
	}
}

// resign gives the office up, so that another can take it at once.
func (t *term) resign(renewed chan error, cancel context.CancelFunc) {
	cancel()
	<-renewed
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	t.d.Store.KV.Revoke(ctx, t.lease)
}

const quietly = time.Hour // nothing is due

// decide ends what has to end and returns when something is due next.
func (t *term) decide(ctx context.Context) (time.Duration, error) {
	next, err := t.endDelays(ctx)
	if err != nil {
		return 0, err
	}
	snapshot := t.d.Store.KV.Snapshot()
	sessions, _ := sessionsOf(snapshot) // a damaged one was told of, and must not keep the others
	var failed error
	for _, s := range sessions {
		why, told := t.ended(snapshot, s)
		if why == lives {
			continue
		}
		if why == waiting {
			next = min(next, retryEvery)
			continue
		}
		was, err := t.end(ctx, s)
		if kind := skerry.KindOf(err); err != nil && !errors.Is(err, errReplaced) && kind != skerry.Unavailable {
			failed = err // it holds too much for one change, or a damaged key: the others still end
			continue
		}
		if err != nil {
			return 0, err
		}
		if was == nil {
			continue // somebody destroyed it meanwhile
		}
		t.d.Store.counts.ended[why].Add(1)
		tellEnd(t.d.Log, s, told)
	}
	return next, failed
}

// end ends a session and returns what it was, or nil when it had ended already.
func (t *term) end(ctx context.Context, s *skerry.Session) (was *skerry.Session, err error) {
	err = t.update(ctx, func(tx skerry.Tx) error {
		// A TTL that was renewed meanwhile is seen here and nowhere earlier.
		if s.TTL > 0 {
			tx.Get(alivePrefix + s.ID)
		}
		var err error
		was, err = endSession(tx, s.ID)
		return err
	})
	if err == nil && s.Lease != 0 {
		t.d.Store.KV.Revoke(ctx, s.Lease)
	}
	return was, err
}

// ending is why a session has to end.
type ending int

const (
	lives       ending = iota // it has not to
	waiting                   // no reason: the node may still announce itself
	byTTL                     // it was not renewed
	byNode                    // its node went
	byCheck                   // a check of its own turned critical or went
	byDestroyer               // somebody destroyed it
	endings                   // how many there are
)

// ended says whether a session has to end, and why in words.
func (t *term) ended(snapshot skerry.Snapshot, s *skerry.Session) (ending, string) {
	if s.TTL > 0 && snapshot.Get(alivePrefix+s.ID) == nil {
		return byTTL, "its TTL passed"
	}
	node := t.d.Store.Catalog.Node(s.Node)
	if node == nil {
		return t.gone(s.Node, byNode), "its node is gone"
	}
	t.seen[s.Node] = true
	for _, id := range boundChecks(s) {
		key := s.Node + "/" + id
		c := checkOf(node, id)
		if c == nil {
			return t.gone(key, byCheck), "its check " + id + " is gone"
		}
		t.seen[key] = true
		if c.Status == skerry.Critical {
			return byCheck, "its check " + id + " is critical"
		}
	}
	return lives, ""
}

// gone is why, unless what is not there may just not have been announced yet.
func (t *term) gone(what string, why ending) ending {
	if t.seen[what] || time.Since(t.since) >= knownAfter {
		return why
	}
	return waiting
}

// delaysAtOnce bounds one change: an etcd that nobody configured takes 128 operations.
const delaysAtOnce = 100

// endDelays lets those locks be taken again whose lock-delay has passed, and
// returns when the next one will have.
func (t *term) endDelays(ctx context.Context) (time.Duration, error) {
	next, now := quietly, time.Now()
	var over []string
	for r := range t.d.Store.KV.Snapshot().All(skerry.Below(delayPrefix), "") {
		end, known := t.delays[r.Key]
		if !known {
			// By this server's clock from when it learned of it: never too early.
			delay, err := time.ParseDuration(string(r.Value))
			if err != nil {
				delay = defaultLockDelay
			}
			end = now.Add(delay)
			t.delays[r.Key] = end
		}
		if left := end.Sub(now); left > 0 {
			next = min(next, left)
		} else {
			over = append(over, r.Key)
		}
	}
	for some := range slices.Chunk(over, delaysAtOnce) {
		err := t.update(ctx, func(tx skerry.Tx) error {
			for _, key := range some {
				tx.Delete(key)
			}
			return nil
		})
		if err != nil {
			return next, err
		}
		for _, key := range some {
			delete(t.delays, key)
		}
	}
	return next, nil
}
