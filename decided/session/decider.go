package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

const (
	// termTTL is how long others cannot decide after the deciding server failed.
	termTTL = 10 * time.Second
	// retryEvery is the time after which another server tries to be elected, or a failed
	// decision is tried again.
	retryEvery = time.Second
	// settle is how long changes of the catalog are gathered before the sessions are
	// looked through.
	settle = 50 * time.Millisecond
	// knownAfter is how long after the start of its process the decider waits for a node
	// that it has never seen: its agent may not have announced it yet.
	knownAfter = time.Minute
	// askedAfter is how long a new decider waits for one in any case: it may have been cut
	// off before, and what it missed is on the way.
	askedAfter = 10 * time.Second
)

// DeciderOptions configure a [Decider].
type DeciderOptions struct {
	Sessions *Store
	Self     string       // this server's id: unique, and the same after a restart
	Log      *slog.Logger // default: discard
}

// Decider ends sessions and lock-delays. It runs on every server, and on one of them at a
// time it decides: two clocks, or two views of the catalog, would differ. That server is
// elected by a key that is bound to a lease. Every decision is a transaction that reads
// this key, so a server that was replaced without knowing it decides nothing.
type Decider struct {
	sessions *Store
	self     string
	log      *slog.Logger

	leading atomic.Bool
	began   time.Time
	// seen are the nodes, and node/check pairs, of sessions that were there, in the terms
	// of others too: a node that dies together with the decider is gone for the next one.
	seen map[string]bool
}

// NewDecider returns this server's decider. It decides nothing before Run.
func NewDecider(o DeciderOptions) *Decider {
	return &Decider{sessions: o.Sessions, self: o.Self, seen: map[string]bool{}, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
}

// Leading reports whether this server decides now.
func (d *Decider) Leading() bool { return d.leading.Load() }

// Leader returns the id of the server that decides by the table, empty if none does.
func (d *Decider) Leader() string {
	r := d.sessions.kv.Snapshot().Get(record.Decider)
	if r == nil || r.Damage != nil {
		return ""
	}
	return string(r.Value)
}

// errReplaced is the error of a decision by a server that no longer decides.
var errReplaced = errors.New("another server decides")

// Run takes part in elections, and decides when it is elected, until ctx ends.
func (d *Decider) Run(ctx context.Context) {
	d.began = time.Now()
	for ctx.Err() == nil {
		d.note()
		term, err := d.elect(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Debug("no decider could be chosen", "error", err)
		}
		if term != nil {
			d.log.Info("this server decides on sessions and locks")
			d.leading.Store(true)
			term.serve(ctx)
			d.leading.Store(false)
			if ctx.Err() == nil {
				d.log.Warn("this server no longer decides on sessions and locks")
			}
			continue
		}
		_, changed := d.sessions.kv.Watch(skerry.Only(record.Decider))
		timer := time.NewTimer(retryEvery)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// term is the time for which a server is elected.
type term struct {
	d     *Decider
	lease skerry.LeaseID
	since time.Time
	// delays has the ends of the lock-delays, by this server's clock.
	delays map[string]time.Time
}

// note notes the nodes and checks of the sessions, in the time in which it matters.
func (d *Decider) note() {
	if time.Since(d.began) >= knownAfter {
		clear(d.seen)
		return
	}
	sessions, _ := sessionsIn(d.sessions.kv.Snapshot())
	for _, s := range sessions {
		node := d.sessions.catalog.Node(s.Node)
		if node == nil {
			continue
		}
		d.seen[s.Node] = true
		for _, id := range boundChecks(s) {
			if checkOf(node, id) != nil {
				d.seen[s.Node+"/"+id] = true
			}
		}
	}
}

// elect returns a term when no server decided, or this server did before a restart, and
// nil when another server decides.
func (d *Decider) elect(ctx context.Context) (*term, error) {
	kv := d.sessions.kv
	if leader := d.Leader(); leader != "" && leader != d.self {
		return nil, nil
	}
	lease, err := kv.Grant(ctx, termTTL)
	if err != nil {
		return nil, err
	}
	var old skerry.LeaseID
	_, err = kv.Update(ctx, func(tx skerry.Tx) error {
		old = 0
		if r := tx.Get(record.Decider); r != nil {
			if r.Damage == nil && string(r.Value) != d.self {
				return errReplaced
			}
			old = r.Lease
		}
		tx.Put(record.Decider, []byte(d.self), lease)
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
	return &term{d: d, lease: lease, since: time.Now(), delays: map[string]time.Time{}}, nil
}

// update makes a decision if the term still lasts.
func (t *term) update(ctx context.Context, change func(skerry.Tx) error) error {
	_, err := t.d.sessions.kv.Update(ctx, func(tx skerry.Tx) error {
		if r := tx.Get(record.Decider); r == nil || r.Lease != t.lease {
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
	kv, catalog := t.d.sessions.kv, t.d.sessions.catalog
	for {
		_, sessions := kv.Watch(skerry.Below(record.Sessions))
		_, alive := kv.Watch(skerry.Below(record.Alive))
		_, delayed := kv.Watch(skerry.Below(record.Delays))
		_, checks := catalog.Watch(skerry.Topic{Kind: skerry.TopicChecks})
		_, nodes := catalog.Watch(skerry.Topic{Kind: skerry.TopicNodes})
		next, err := t.decide(ctx)
		if errors.Is(err, errReplaced) || ctx.Err() != nil {
			return
		}
		if err != nil {
			t.d.log.Warn("a decision on sessions or locks failed and is tried again", "error", err)
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
			// Any other error may pass before the lease ends.
			if err := t.d.sessions.kv.Renew(ctx, t.lease); skerry.KindOf(err) == skerry.NotFound {
				return err
			}
		}
	}
}

// resign ends the term, so that another server can be elected at once.
func (t *term) resign(renewed chan error, cancel context.CancelFunc) {
	cancel()
	<-renewed
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	t.d.sessions.kv.Revoke(ctx, t.lease)
}
