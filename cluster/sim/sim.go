// Package sim plays the protocol of package cluster through seeded schedules: frames that
// are late or lost, cuts in both ways and in one, splits, stalls, restarts, and owners that
// change, restart, crash and withdraw. A schedule that fails is replayed by its seed.
package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// Step is the time between two looks at the world.
const Step = 100 * time.Millisecond

// TTL is that of all owners.
const TTL = 6 * time.Second

// Forget is how long servers remember owners that ended.
const Forget = time.Minute

// grace is that of orphans.
const grace = TTL

// Config configures a schedule.
type Config struct {
	Seed    uint64
	Servers int
	Owners  int // a third of them are leases behind a balancer
	Faults  time.Duration
	// Within is how long after the last fault all must be well.
	Within time.Duration
	// New makes a server; nil: cluster.New.
	New func(cluster.Config, time.Time) *cluster.Server
	// Trace prints what happens; nil: nothing.
	Trace func(format string, args ...any)
	// Follow is an owner of which Trace prints all messages, and what each server knows.
	Follow skerry.OwnerID
}

// world is all servers and owners, and the messages between them.
type world struct {
	cfg     Config
	r       *rand.Rand
	now     time.Time
	began   time.Time
	servers []*server
	owners  []*owner
	flying  []flight
	due     []flight                // of the last step, for their room
	last    map[[2]string]time.Time // the arrival of the last frame of a pair: they stay in order
	cut     map[[2]string]bool
	drop    float64
	lossy   time.Time // frames may have been lost up to then

	rebooted time.Time               // all servers were started again by then, after a kill of all
	equalAt  time.Time               // when all servers knew the same last
	traced   string                  // of the owner that is followed, last
	diverged int                     // differences that servers found
	doubted  time.Duration           // after the last fault, when a server was not whole last
	must     map[skerry.OwnerID]bool // the leases that were on a disk then
}

// flight is a message on its way.
type flight struct {
	sent, at time.Time
	from, to string
	m        cluster.Message
}

// server is one server, with the catalog that it shows.
type server struct {
	id        cluster.ServerID
	core      *cluster.Server
	life      cluster.Life
	up        bool
	paused    bool
	started   time.Time
	resumed   time.Time
	shows     map[skerry.OwnerID]skerry.Version
	records   map[skerry.OwnerID]cluster.Record
	withdrawn map[skerry.OwnerID]skerry.Version // that it knew in this life
	together  time.Time                         // when it was in a majority last
	away      time.Time                         // when it was last in a minority for long
	majority  time.Time                         // its disk: when it was in a majority last
	skew      time.Duration
	showed    map[skerry.OwnerID]bool
	ups       map[cluster.ServerID]bool // that it was up with at the last step
	disk      map[skerry.OwnerID]*stored
	again     time.Time // when it starts after a kill of all
}

// owner is an agent, a lease whose messages go to any server, or what a server itself
// registers.
type owner struct {
	id      skerry.OwnerID
	core    *cluster.Owner // nil: a lease
	in      *server        // it lives in this server's process; nil: in one of its own
	version skerry.Version
	told    skerry.Version // leases: that a server has
	retry   time.Time
	epochs  map[uint64]bool // that it had
	steady  skerry.Version  // its version after the last fault
	since   time.Time       // it has it since then
	crashed bool
	gone    bool
	stalled time.Time // until then; its frames wait
	oks     []ok      // answers to beats
}

type ok struct {
	at   time.Time
	from cluster.ServerID
	has  bool // it has the set
	// counts: it was in a majority
	counts bool
}

// setOf returns the set of a version.
func setOf(v skerry.Version) *skerry.Set {
	return &skerry.Set{Node: &skerry.Node{Name: "n", Meta: map[string]string{"version": fmt.Sprint(v)}}}
}

func digestOf(v skerry.Version) uint64 { return v.Epoch<<32 | v.Seq + 1 }

// Run plays a schedule. It returns an error that names the seed if an invariant does not
// hold.
func Run(cfg Config) error {
	w := &world{
		cfg: cfg, r: rand.New(rand.NewPCG(cfg.Seed, 1)), now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		last: map[[2]string]time.Time{}, cut: map[[2]string]bool{},
	}
	if w.cfg.New == nil {
		w.cfg.New = cluster.New
	}
	w.began = w.now
	for i := range cfg.Servers {
		s := &server{id: cluster.ServerID(fmt.Sprintf("s%d", i)), disk: map[skerry.OwnerID]*stored{}, majority: w.now, skew: time.Duration(w.r.IntN(5)) * Step}
		w.servers = append(w.servers, s)
	}
	for _, s := range w.servers {
		w.start(s)
	}
	for i := range cfg.Owners {
		o := &owner{id: skerry.OwnerID(fmt.Sprintf("o%d", i)), version: skerry.Version{Epoch: 1000, Seq: 1}}
		if i%3 != 2 {
			o.core = w.newOwner(o)
		}
		w.owners = append(w.owners, o)
	}
	for _, s := range w.servers {
		w.owners = append(w.owners, &owner{id: skerry.OwnerID("o-" + s.id), in: s, version: skerry.Version{Epoch: 1000, Seq: 1}})
	}
	if err := w.run(); err != nil {
		return fmt.Errorf("seed %d at %v: %w", cfg.Seed, w.now.Sub(w.began), err)
	}
	return nil
}

func (w *world) ids() (out []cluster.ServerID) {
	for _, s := range w.servers {
		out = append(out, s.id)
	}
	return out
}

// noGuard holds no owner. Servers ask each other before losses because of it.
type noGuard struct{}

func (noGuard) Hold(_, _ []skerry.OwnerID) ([]skerry.OwnerID, time.Duration) { return nil, 0 }

func (w *world) start(s *server) {
	s.life++
	s.core = w.cfg.New(cluster.Config{
		Self: s.id, Life: s.life, Members: w.ids(), Rand: w.r, Timing: cluster.Timing{Recover: TTL, Forget: Forget}, Guard: noGuard{},
	}, w.at(s))
	s.up, s.paused, s.started, s.resumed = true, false, w.now, time.Time{}
	s.shows, s.records, s.showed = map[skerry.OwnerID]skerry.Version{}, map[skerry.OwnerID]cluster.Record{}, map[skerry.OwnerID]bool{}
	s.ups = map[cluster.ServerID]bool{}
	s.withdrawn, s.together, s.away = map[skerry.OwnerID]skerry.Version{}, w.now, time.Time{}
	for _, o := range w.owners {
		if o.in == s {
			o.version, o.told, o.retry = skerry.Version{Epoch: o.version.Epoch + 1, Seq: 1}, skerry.Version{}, w.now
		}
	}
	w.restore(s)
}

const settle = 40 * time.Second

func (w *world) run() error {
	heal := w.began.Add(w.cfg.Faults)
	for ; w.now.Before(heal.Add(settle)); w.now = w.now.Add(Step) {
		if w.now.Equal(heal) {
			w.heal()
		}
		if w.drop > 0 {
			w.lossy = w.now.Add(10 * time.Second)
		}
		if w.now.Before(heal) && w.r.IntN(25) == 0 {
			w.fault()
		}
		w.restarts()
		if err := w.deliver(); err != nil {
			return err
		}
		for _, s := range w.servers {
			if s.up && !s.paused {
				s.core.Tick(w.at(s))
				if at := s.core.Together(); !at.IsZero() {
					s.majority = at.Add(-s.skew)
				}
				if err := w.flush(s); err != nil {
					return err
				}
			}
		}
		for _, o := range w.owners {
			w.act(o)
		}
		w.traceOwner()
		if err := w.check(heal); err != nil {
			return err
		}
	}
	return w.final()
}

func (w *world) heal() {
	w.tracef("all is well again")
	w.cut, w.drop = map[[2]string]bool{}, 0
	for _, o := range w.owners {
		o.stalled = time.Time{}
	}
	for _, s := range w.servers {
		if s.paused {
			s.paused, s.resumed = false, w.now
		}
		if !s.up {
			w.start(s)
		}
	}
}

func (w *world) owner(name string) *owner {
	if name[0] != 'o' {
		return nil
	}
	for _, o := range w.owners {
		if string(o.id) == name {
			return o
		}
	}
	return nil
}

func (w *world) server(name string) *server {
	for _, s := range w.servers {
		if string(s.id) == name {
			return s
		}
	}
	return nil
}
