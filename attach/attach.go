// Package attach keeps this process's agent attached to one of the servers: it chooses one, announces the
// agent's set, beats, and moves on when the server is silent. The protocol is [cluster.Owner]'s; this
// package gives it connections and a clock.
package attach

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
	"github.com/skerryhq/skerry/rest"
)

// Stream carries frames to a server and back.
type Stream interface {
	Send(frame []byte) error
	Receive() ([]byte, error)
	Close()
}

// Config configures an [Attachment].
type Config struct {
	// Join are the addresses of servers, host:port. Ask returns the name of the one at an
	// address, and Dial opens a stream to it. Both may take some seconds.
	Join []string
	Ask  func(ctx context.Context, address string) (name string, err error)
	Dial func(ctx context.Context, address string) (Stream, error)
	// RetryEvery is the time between two questions for the servers' names.
	RetryEvery time.Duration
	// Grants returns the tokens of the agent itself and of the given instances, which a server judges by; nil:
	// none are sent.
	Grants func(of []*skerry.Instance) *cluster.Grants
	// Moved is told the index of the tokens and policies at the server, when it attaches and at each change; nil: it
	// is not told.
	Moved func(index uint64)
	// Authorities is told the pins of the authorities that the server trusts, while they change; nil: it is not told.
	Authorities func(pins []string)
	// Announced takes the time from when a change was made until a server had it. Changes that are made meanwhile are not
	// timed. nil: none is.
	Announced  func(took time.Duration)
	TTL        time.Duration         // of the agent; default 5 s
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Attachment is a [skerry.Carrier] of one owner to the servers. A change is on its way when Changed
// returns. All methods may be called at once.
type Attachment struct {
	cfg  Config
	rand *rand.Rand
	wake chan struct{}

	mu      sync.Mutex
	from    skerry.Source
	core    *cluster.Owner // nil before Carry
	servers map[cluster.ServerID]string
	silent  map[string]bool // the addresses that did not answer last
	resting rest.Servers
	changes changes
	lift    uint64 // the owner's sequence is greater here: see Renew
	refused map[string]string
	barred  string // why the last server did not take this agent; empty: it did
	// withdrawn: nothing is announced any more.
	withdrawn bool
	conn      *conn // the present one
	told      cluster.ServerID
	since     time.Time // when told changed
	moves     prometheus.Counter
	untold    untold
}

// untold is the oldest change that no server has confirmed.
type untold struct {
	since   time.Time // zero: there is none
	version skerry.Version
}

const (
	defaultTTL = 5 * time.Second
	// The owner's next step is awaited for at least tickLeast, since servers rest, and at most tickMost.
	tickLeast = 50 * time.Millisecond
	tickMost  = time.Second
)

// New returns an attachment without an owner.
func New(cfg Config) *Attachment {
	if cfg.TTL == 0 {
		cfg.TTL = defaultTTL
	}
	a := &Attachment{
		cfg: cfg, rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), wake: make(chan struct{}, 1),
		servers: map[cluster.ServerID]string{}, silent: map[string]bool{}, since: time.Now(),
		moves: prometheus.NewCounter(prometheus.CounterOpts{Name: "skerry_attach_attachments_total", Help: "Times that this agent attached to a server."}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(a.moves, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skerry_attach_settled", Help: "1 while a server has the present registrations of this agent.",
		}, func() float64 {
			if a.State().Settled {
				return 1
			}
			return 0
		}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skerry_attach_refused_services", Help: "Services of this agent that its server leaves out, since their tokens may not write them.",
		}, func() float64 { return float64(len(a.Refused())) }))
	}
	return a
}

// State returns the present state.
func (a *Attachment) State() skerry.Attachment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return skerry.Attachment{Server: string(a.told), Since: a.since, Settled: a.core != nil && a.core.Settled(), Barred: a.barred}
}

// withdrawEvery is how often it is looked whether a withdrawal has arrived.
const withdrawEvery = 20 * time.Millisecond

// Withdraw takes the owner out of the catalog of the servers, for good. It returns when a server has taken that
// in, or ctx ends.
func (a *Attachment) Withdraw(ctx context.Context) error {
	a.mu.Lock()
	if a.core == nil {
		a.mu.Unlock()
		return nil
	}
	a.withdrawn = true
	v := a.core.Version()
	a.core.Changed(skerry.Version{Epoch: v.Epoch, Seq: v.Seq + 1}, 0, true)
	a.mu.Unlock()
	a.awake()
	t := time.NewTicker(withdrawEvery)
	defer t.Stop()
	for {
		a.mu.Lock()
		done := a.core.Done()
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// Carry implements [skerry.Carrier]. It may be called once.
func (a *Attachment) Carry(id skerry.OwnerID, kind skerry.OwnerKind, ttl time.Duration, from skerry.Source) skerry.Outbox {
	if ttl <= 0 {
		ttl = a.cfg.TTL
	}
	v, digest, _ := from.Whole()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = from
	a.core = cluster.NewOwner(cluster.OwnerConfig{ID: id, Kind: kind, TTL: ttl, Rand: a.rand, Servers: a.known()}, v, digest)
	a.awake()
	return a
}

// Changed implements [skerry.Outbox]. Changes that wait are sent as one.
func (a *Attachment) Changed(v, base skerry.Version, d skerry.Delta, digest uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v = a.changed(v, digest)
	base.Epoch = max(base.Epoch, v.Epoch)
	base.Seq += a.lift
	a.changes.add(change{base, v, digest, d})
	a.awake()
}

// changed notes a version of the set, unless a newer one is known. The servers may know an epoch of a time when
// this host's clock was ahead: the owner goes on above it.
func (a *Attachment) changed(v skerry.Version, digest uint64) skerry.Version {
	known := a.core.Version()
	v.Epoch = max(v.Epoch, known.Epoch)
	v.Seq += a.lift
	if known.Less(v) && !a.withdrawn {
		a.core.Changed(v, digest, false)
		if a.untold.since.IsZero() {
			a.untold = untold{time.Now(), v}
		}
	}
	return v
}

func (a *Attachment) awake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run attaches until ctx ends.
func (a *Attachment) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, address := range a.cfg.Join {
		all.Go(func() { a.learn(ctx, address) })
	}
	t := time.NewTimer(0)
	defer t.Stop()
	defer a.drop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.wake:
		}
		t.Reset(a.step(ctx, &all))
	}
}

// step lets time pass for the owner, and sends its messages. It returns the time until the next step.
func (a *Attachment) step(ctx context.Context, all *sync.WaitGroup) time.Duration {
	a.mu.Lock()
	if a.core == nil {
		a.mu.Unlock()
		return tickMost
	}
	a.core.Tick(time.Now())
	out := a.core.Ready()
	a.note()
	a.mu.Unlock()
	for _, e := range out {
		m := e.Message
		switch n := m.(type) {
		case cluster.Attach:
			n.Grants = a.grants(nil)
			m = n
		case cluster.Announce:
			if n.Attach {
				m = a.filled(n)
			}
		}
		a.post(ctx, all, e.To, m)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	return min(max(a.core.Due(now).Sub(now), tickLeast), tickMost)
}

// filled puts into an announcement what the server lacks: the changes since the version that it has, or
// the present set.
func (a *Attachment) filled(n cluster.Announce) cluster.Announce {
	a.mu.Lock()
	c, ok := a.changes.since(a.core.Told())
	if ok = ok && !c.version.Less(n.Version); ok {
		a.core.Said(c.version) // the set may have changed since it was asked for
	}
	a.mu.Unlock()
	if ok {
		n.Version, n.Base, n.Digest, n.Delta, n.Attach = c.version, c.base, c.digest, &c.delta, false
		if len(c.delta.Instances) > 0 {
			n.Grants = a.grants(c.delta.Instances)
		}
		return n
	}
	v, digest, set := a.from.Whole() // it takes the owner's lock, so that this one is not held
	grants := a.grants(set.Instances)
	a.mu.Lock()
	defer a.mu.Unlock()
	n.Version = a.changed(v, digest)
	n.Digest, n.Set, n.Attach, n.Grants = digest, set, false, grants
	a.core.Said(n.Version)
	return n
}

// noteTold passes the time on that the oldest change took, once a server has it. It must be called with mu held.
func (a *Attachment) noteTold() {
	if a.untold.since.IsZero() || a.core.Told().Less(a.untold.version) {
		return
	}
	if a.cfg.Announced != nil {
		a.cfg.Announced(time.Since(a.untold.since))
	}
	a.untold = untold{}
}

// Untold is for how long a change has waited for a server; 0: servers have all.
func (a *Attachment) Untold() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.untold.since.IsZero() {
		return 0
	}
	return time.Since(a.untold.since)
}

// note logs a change of the server.
func (a *Attachment) note() {
	home := a.core.Home()
	if home == a.told {
		return
	}
	a.told, a.since = home, time.Now()
	if home == "" {
		a.cfg.Log.Warn("this agent is attached to no server: its registrations reach none until it is")
	} else {
		a.moves.Inc()
		a.cfg.Log.Info("this agent is attached to a server", "server", home)
	}
}

// post sends a message to a server, over a new stream if the present one leads to another.
func (a *Attachment) post(ctx context.Context, all *sync.WaitGroup, to cluster.ServerID, m cluster.Message) {
	data, err := frame.Encode(m)
	if err != nil {
		a.cfg.Log.Error("a message to a server cannot be sent", "kind", frame.Kind(m), "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil || a.conn.to != to || a.conn.ended() {
		if a.resting.Rests(string(to)) {
			a.core.Broke(time.Now(), to)
			return
		}
		if a.conn != nil {
			a.conn.stop()
		}
		c := newConn(ctx, to, a.servers[to])
		a.conn = c
		all.Go(func() { a.carry(c) })
	}
	a.conn.post(data)
}

// drop ends the present stream.
func (a *Attachment) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.stop()
	}
}

// carry opens a stream and carries frames until it ends.
func (a *Attachment) carry(c *conn) {
	defer c.stop()
	err := c.run(a.cfg.Dial, func(data []byte) {
		m, err := frame.Decode(data)
		if err != nil {
			a.cfg.Log.Warn("a frame of a server is not understood", "server", c.to, "error", err)
		}
		if m == nil || err != nil || a.access(c, m) {
			return
		}
		a.mu.Lock()
		a.core.Step(time.Now(), c.to, m)
		a.judged(m)
		a.noteTold()
		a.resting.Worked(string(c.to))
		a.mu.Unlock()
		a.awake()
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != c {
		return // given up for another
	}
	a.core.Broke(time.Now(), c.to)
	if err != nil && c.ctx.Err() == nil {
		a.failed(c.to, err)
	}
	a.awake()
}
