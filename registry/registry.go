// Package registry is one server's part of a catalog that several servers hold. It runs the
// protocol's core, writes its decisions into the table, and exchanges frames with the
// other servers. DESIGN.md has the flow.
package registry

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/propagation"
)

// Table is the catalog as a [Registry] writes it. Its clock must be that of the registry.
type Table interface {
	Announce(skerry.Announcement) (skerry.Outcome, error)
	Remove(skerry.OwnerID, skerry.Cause)
	SetHeld(id skerry.OwnerID, held bool)
	Whole(skerry.OwnerID) *skerry.Set
	Size(skerry.OwnerID) int
	cluster.Guard
}

// Sender carries frames to the other servers.
type Sender interface {
	// Send sends a frame to a server, or to all others if to is empty. It never blocks; a
	// frame that cannot be carried now is dropped.
	Send(to string, frame []byte) error
}

// Config configures a [Registry].
type Config struct {
	Self cluster.ServerID
	Life cluster.Life
	// Members are the servers that count for a majority, and Of the number that it is
	// counted over, as [Registry.SetMembers] takes them. If there are none, all that speak
	// count, and a majority is counted over at least Of.
	Members []cluster.ServerID
	Of      int
	Timing  cluster.Timing
	Table   Table
	// Expected are agents that were attached before the start: Settled waits for them too.
	Expected []skerry.OwnerID
	// TickEvery is the time between two ticks of Run; default [TickEvery]. Where no other process announces, nothing depends
	// on it but the end of leases.
	TickEvery time.Duration
	// AgentTTL is the longest silence of this server's own agent; default 5 s.
	AgentTTL time.Duration
	// MaxFrame is the size from which a frame is split, in bytes; default 1 MiB.
	MaxFrame int
	// Store returns how far this server's member of the quorum store has come; nil: it has none.
	Store func() cluster.Mark
	// Departed is told by Tick of the owners that the catalog has not shown for 5 s, with the
	// version at which they departed. Without other servers it is told at once.
	Departed func(map[skerry.OwnerID]skerry.Version)
	// Form takes the messages by which servers form a cluster, join it and hand its lead
	// over; nil: they are dropped.
	Form func(from cluster.ServerID, m cluster.Message)
	// Judge decides what agents may show; nil: everything.
	Judge Judge
	// Meter times changes that are made here on their way to other servers and agents; nil: they are not timed.
	Meter *propagation.Meter
	// Agents asks some agents that follow a service here whether they have its present view, and those of all services where the
	// name is empty. It calls report once, if there are any, and does not block; nil: there are none.
	Agents func(service string, report func(took map[string]time.Duration, late []string))
	Now    func() time.Time // default time.Now
	Rand   *rand.Rand       // default: seeded by chance

	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Registry implements [skerry.Announcer] for the owners whose messages land at this server,
// and [skerry.Carrier] for those in its process. All methods may be called at once.
type Registry struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	post    *post

	mu      sync.Mutex
	core    *cluster.Server
	own     map[skerry.OwnerID]*own
	held    map[skerry.OwnerID]bool
	spoke   map[cluster.ServerID]bool // they count for a majority while told is false
	told    bool                      // by SetMembers
	alone   bool                      // as the log says: in a minority
	settled chan struct{}

	barred   map[string]string            // why agents may not attach, as logged, by node
	departed map[skerry.OwnerID]departure // of which Config.Departed is not told yet

	current  current
	canaries map[skerry.OwnerID]*skerry.Set // of all servers: they are not in the table
	landing  bool                           // the step takes the word of an owner that came to this server
	traces   traces
	catching map[uint64]*catching
	asked    uint64 // questions of CatchUp
}

const (
	// TickEvery is the time between two calls of Tick.
	TickEvery       = 100 * time.Millisecond
	defaultAgentTTL = 5 * time.Second
	defaultMaxFrame = 1 << 20
)

// New returns a registry that knows no owner and no other server.
func New(cfg Config) *Registry {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.AgentTTL == 0 {
		cfg.AgentTTL = defaultAgentTTL
	}
	if cfg.MaxFrame == 0 {
		cfg.MaxFrame = defaultMaxFrame
	}
	if cfg.Departed == nil {
		cfg.Departed = func(map[skerry.OwnerID]skerry.Version) {}
	}
	r := &Registry{
		cfg: cfg, log: cfg.Log, own: map[skerry.OwnerID]*own{}, held: map[skerry.OwnerID]bool{}, barred: map[string]string{},
		departed: map[skerry.OwnerID]departure{}, catching: map[uint64]*catching{}, canaries: map[skerry.OwnerID]*skerry.Set{},
		spoke: map[cluster.ServerID]bool{cfg.Self: true},
		told:  len(cfg.Members) > 0, settled: make(chan struct{}),
	}
	members := cfg.Members
	if !r.told {
		members = []cluster.ServerID{cfg.Self}
	}
	r.core = cluster.New(cluster.Config{
		Self: cfg.Self, Life: cfg.Life, Members: members, Of: cfg.Of, Timing: cfg.Timing, Guard: cfg.Table, Rand: cfg.Rand,
	}, cfg.Now())
	r.current.born = cfg.Now()
	r.metrics = newMetrics(cfg.Registerer, r)
	r.post = newPost(cfg.MaxFrame, r.metrics, cfg.Log)
	return r
}

// Connect sets the way to the other servers. Frames before it are dropped: repair brings
// what they carried.
func (r *Registry) Connect(to Sender) { r.post.connect(to) }

// Send posts messages that are not of the core.
func (r *Registry) Send(messages []cluster.Envelope) { r.post.add(messages, r.whole) }

// Run lets time pass and sends frames until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { r.post.run(ctx) })
	defer sending.Wait()
	t := time.NewTicker(cmp.Or(r.cfg.TickEvery, TickEvery))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.Tick()
		}
	}
}

// Tick lets time pass: it is to be called every [TickEvery]. It returns the owners that are
// lost.
func (r *Registry) Tick() (lost []skerry.OwnerID) {
	for _, o := range r.beatOwn() {
		o.whole()
	}
	r.mu.Lock()
	now := r.cfg.Now()
	if r.cfg.Store != nil {
		r.core.SetStore(r.cfg.Store())
	}
	r.core.Tick(now)
	lost = r.flush().lost
	r.current.note(now, r.core)
	r.askHeads(now)
	r.noteMinority()
	r.settle(r.cfg.Now())
	if r.cfg.Meter != nil {
		r.cfg.Meter.Tick(now)
	}
	r.traces.forget(now)
	departed := r.forGood(now)
	r.mu.Unlock()
	if len(departed) > 0 {
		r.cfg.Departed(departed)
	}
	return lost
}

// contested is how long after its departure an owner may come back by the contest of a server that
// heard it.
const contested = 5 * time.Second

// departure is that of an owner.
type departure struct {
	at      time.Time
	version skerry.Version
}

// forGood returns the owners that departed and did not come back.
func (r *Registry) forGood(now time.Time) map[skerry.OwnerID]skerry.Version {
	var out map[skerry.OwnerID]skerry.Version
	within := contested
	if !r.core.Others() {
		within = 0
	}
	for id, d := range r.departed {
		if now.Sub(d.at) < within {
			continue
		}
		if out == nil {
			out = map[skerry.OwnerID]skerry.Version{}
		}
		out[id] = d.version
		delete(r.departed, id)
	}
	return out
}

// noteMinority logs that this server came into a minority, or out of one.
func (r *Registry) noteMinority() {
	minority := r.core.Minority()
	if minority == r.alone {
		return
	}
	r.alone = minority
	if minority {
		r.log.Warn("this server hears no majority of the servers: it takes no owner out of the catalog until it does")
	} else {
		r.log.Info("this server hears a majority of the servers")
	}
}

// Receive takes a frame from another server. Frames that are not understood are skipped.
func (r *Registry) Receive(from string, frame []byte) {
	m, err := decode(frame)
	if m == nil || err != nil {
		if err != nil {
			r.log.Warn("a frame of another server is not understood", "server", from, "error", err)
		}
		r.metrics.skipped.Inc()
		return
	}
	id := cluster.ServerID(from)
	switch m.(type) {
	case cluster.Hello, cluster.Propose, cluster.Accept, cluster.Start, cluster.Counts, cluster.Void, cluster.Join, cluster.Joined,
		cluster.HandOver, cluster.HandedOver:
		if r.cfg.Form != nil {
			r.cfg.Form(id, m)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	r.meet(now, id)
	if r.traced(now, id, m) {
		return
	}
	r.core.Step(now, id, m)
	if head, is := m.(cluster.Head); is {
		r.headed(id, head)
	}
	r.flush()
}

// meet notes a server that speaks. It counts for a majority until the members are known.
func (r *Registry) meet(now time.Time, id cluster.ServerID) {
	if r.spoke[id] {
		return
	}
	r.spoke[id] = true
	r.log.Info("another server spoke", "server", id, "servers", len(r.spoke))
	if !r.told {
		r.core.SetMembers(now, slices.Collect(maps.Keys(r.spoke)), max(r.cfg.Of, len(r.spoke)))
	}
}

// SetMembers sets the servers that count for a majority, which is counted over of servers.
// It is told the servers with a vote in the quorum store, whenever they change.
func (r *Registry) SetMembers(members []cluster.ServerID, of int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = true
	r.core.SetMembers(r.cfg.Now(), members, of)
	r.flush()
}

// SetCluster names the cluster of this server, once it is formed.
func (r *Registry) SetCluster(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.SetCluster(name)
}

// applied is what a step has changed.
type applied struct {
	departed, changed bool
	lost              []skerry.OwnerID
}

// flush applies the core's changes to the table and posts its messages. It must be called
// with mu held, after each step: the sets in the messages are those of the table.
func (r *Registry) flush() (a applied) {
	ready := r.core.Ready()
	for _, c := range ready.Changes {
		r.apply(c, &a)
	}
	for _, refused := range ready.Refused {
		r.refuse(refused)
	}
	r.metrics.diverged.Add(float64(ready.Diverged))
	r.post.add(ready.Send, r.whole)
	r.trace()
	if len(r.catching) > 0 {
		r.caught()
	}
	return a
}

func (r *Registry) refuse(peer cluster.Refused) {
	if peer.Cluster != "" {
		r.log.Error("a server of another cluster was met: if it belongs to this one, stop it, move its data_dir away and start it anew",
			"server", peer.Peer, "its cluster", peer.TheirCluster, "own cluster", peer.Cluster)
		return
	}
	r.log.Error("another server speaks no version of the protocol that this one understands: upgrade the older one",
		"server", peer.Peer, "its versions", peer.Theirs, "own versions", peer.Ours)
}

func (r *Registry) apply(c cluster.Change, a *applied) {
	if c.Kind == skerry.CanaryOwner {
		r.applyCanary(c)
		return
	}
	if r.landing {
		r.sample(&c)
	}
	r.countJudged(c)
	if !c.Show {
		r.hold(c.Owner, false)
		r.cfg.Table.Remove(c.Owner, c.Cause)
		r.departed[c.Owner] = departure{r.cfg.Now(), c.Version}
		a.departed, a.changed = true, true
		if c.Cause == skerry.CauseExpired {
			a.lost = append(a.lost, c.Owner)
			r.log.Info("an owner is lost: it was silent for longer than its lease", "owner", c.Owner, "home", c.Stand.Home, "judge", c.Stand.By)
		}
		return
	}
	delete(r.departed, c.Owner)
	if c.Set != nil || c.Delta != nil {
		outcome, err := r.cfg.Table.Announce(announcement(&c.Record))
		if err != nil || outcome == skerry.Stale || outcome == skerry.Resend {
			r.metrics.refused.Inc()
			r.log.Error("the catalog refused a change of an owner's set", "owner", c.Owner, "version", c.Version, "outcome", outcome, "error", err)
		}
		a.changed = a.changed || outcome == skerry.Applied
	}
	r.hold(c.Owner, c.Held)
}

// countJudged counts an owner that this server itself judged.
func (r *Registry) countJudged(c cluster.Change) {
	if c.Stand.By != r.cfg.Self {
		return
	}
	switch {
	case !c.Show && c.Cause == skerry.CauseExpired:
		r.metrics.lost.Inc()
	case c.Held && !r.held[c.Owner]:
		r.metrics.held.Inc()
	}
}

// hold shows in the table whether the guard holds an owner.
func (r *Registry) hold(id skerry.OwnerID, held bool) {
	if r.held[id] == held {
		return
	}
	r.cfg.Table.SetHeld(id, held)
	if held {
		r.held[id] = true
		r.log.Warn("the guard holds a silent owner: too many fell silent at once", "owner", id)
	} else {
		delete(r.held, id)
	}
}

func announcement(c *cluster.Record) skerry.Announcement {
	a := skerry.Announcement{Owner: c.Owner, Kind: c.Kind, TTL: c.TTL, Version: c.Version, Digest: c.Digest}
	if a.Set = c.Set; a.Set == nil {
		a.Base, a.Delta = c.Base, c.Delta
	}
	return a
}
