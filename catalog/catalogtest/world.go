package catalogtest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// clock is time that passes when it is told to.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []timer
}

type timer struct {
	at time.Time
	f  func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = append(c.timers, timer{c.now.Add(d), f})
}

// pass lets d pass and runs the functions that came due.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due, later []timer
	for _, t := range c.timers {
		if t.at.After(c.now) {
			later = append(later, t)
		} else {
			due = append(due, t)
		}
	}
	c.timers = later
	c.mu.Unlock()
	slices.SortFunc(due, func(a, b timer) int { return a.at.Compare(b.at) })
	for _, t := range due {
		t.f()
	}
}

const (
	coalesce    = 2 * time.Millisecond
	outputEvery = 250 * time.Millisecond
	tickEvery   = 250 * time.Millisecond
)

// failer is what the suite needs of a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// world is a catalog with its clock.
type world struct {
	failer
	clock *clock
	cfg   catalog.Config
	c     Catalog
	judge Judged // nil in RunTable

	parties map[skerry.OwnerID]*party
}

func newWorld(t *testing.T, open Open, cfg catalog.Config) *world {
	w := &world{failer: t, clock: &clock{now: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)}, parties: map[skerry.OwnerID]*party{}}
	cfg.Now, cfg.After = w.clock.Now, w.clock.After
	cfg.Coalesce, cfg.OutputEvery = coalesce, outputEvery
	w.cfg = cfg
	w.c = open(t, cfg)
	w.judge, _ = w.c.(Judged)
	w.tick()
	return w
}

// run lets time pass with the ticks that belong to it, and returns the lost owners.
func (w *world) run(d time.Duration) []skerry.OwnerID {
	w.Helper()
	var lost []skerry.OwnerID
	for ; d > 0; d -= tickEvery {
		w.clock.pass(min(d, tickEvery))
		lost = append(lost, w.tick()...)
	}
	slices.Sort(lost)
	return lost
}

func (w *world) tick() []skerry.OwnerID {
	w.c.Tick()
	if w.judge == nil {
		return nil
	}
	return w.judge.Judge()
}

// party is an owner as it knows itself.
type party struct {
	w       *world
	id      skerry.OwnerID
	kind    skerry.OwnerKind
	ttl     time.Duration
	version skerry.Version
	set     skerry.Set
}

func (w *world) agent(id string, node *skerry.Node) *party {
	p := &party{w: w, id: skerry.OwnerID(id), kind: skerry.AgentOwner, version: skerry.Version{Epoch: 1}, set: skerry.Set{Node: node}}
	w.parties[p.id] = p
	return p
}

func (w *world) external(id string, node *skerry.Node) *party {
	p := w.agent(id, node)
	p.kind = skerry.ExternalOwner
	return p
}

func (w *world) lease(id string, ttl time.Duration, node *skerry.Node) *party {
	p := w.agent(id, node)
	p.kind, p.ttl = skerry.LeaseOwner, ttl
	return p
}

// with returns the party with these records as its set: *Node, *Instance, *Check.
func (p *party) with(records ...any) *party {
	p.set.Instances, p.set.Checks = nil, nil
	for _, r := range records {
		switch r := r.(type) {
		case *skerry.Node:
			p.set.Node = r
		case *skerry.Instance:
			p.set.Instances = append(p.set.Instances, r)
		case *skerry.Check:
			p.set.Checks = append(p.set.Checks, r)
		default:
			p.w.Fatalf("%T is no record", r)
		}
	}
	return p
}

// whole is the announcement of the whole set as it is.
func (p *party) whole() skerry.Announcement {
	return skerry.Announcement{Owner: p.id, Kind: p.kind, TTL: p.ttl, Version: p.version, Set: copySet(&p.set), Digest: p.set.Digest()}
}

// announce announces the whole set as a new version.
func (p *party) announce() skerry.Outcome {
	p.w.Helper()
	p.version.Seq++
	return p.w.announce(p.whole())
}

// change announces a delta on top of the present version.
func (p *party) change(d skerry.Delta) skerry.Outcome {
	p.w.Helper()
	base := p.version
	p.version.Seq++
	return p.w.announce(skerry.Announcement{Owner: p.id, Kind: p.kind, TTL: p.ttl, Version: p.version, Base: base, Delta: &d, Digest: p.set.Digest() + p.version.Seq})
}

func (p *party) beat() skerry.Outcome {
	p.w.Helper()
	_, digest, ok := p.w.c.Known(p.id)
	if !ok {
		return skerry.Resend
	}
	return p.w.c.Beat(p.id, digest)
}

func (w *world) announce(a skerry.Announcement) skerry.Outcome {
	w.Helper()
	out, err := w.c.Announce(a)
	if err != nil {
		w.Fatalf("announcement of %s: %v", a.Owner, err)
	}
	return out
}

// withdraw withdraws an owner by a new version.
func (w *world) withdraw(id skerry.OwnerID) bool {
	p := w.parties[id]
	p.version.Seq++
	return w.c.Withdraw(id, p.version)
}

// must checks what an announcement or a beat was answered.
func (w *world) must(want, got skerry.Outcome) {
	w.Helper()
	names := map[skerry.Outcome]string{skerry.Applied: "applied", skerry.Unchanged: "unchanged", skerry.Stale: "stale", skerry.Resend: "resend"}
	if got != want {
		w.Fatalf("the answer is %q, want %q", names[got], names[want])
	}
}

// wait is a watcher of a topic.
type wait struct {
	w       *world
	index   uint64
	changed <-chan struct{}
}

func (w *world) watch(kind skerry.TopicKind, name string) wait {
	index, changed := w.c.Watch(skerry.Topic{Kind: kind, Name: name})
	return wait{w, index, changed}
}

// woken reports whether the watcher was woken, once the window has passed.
func (x wait) woken() bool {
	x.w.clock.pass(coalesce)
	select {
	case <-x.changed:
		return true
	default:
		return false
	}
}

func (w *world) wakes(x wait, what string) {
	w.Helper()
	if !x.woken() {
		w.Errorf("%s woke nobody", what)
	}
}

func (w *world) sleeps(x wait, what string) {
	w.Helper()
	if x.woken() {
		w.Errorf("%s woke a watcher", what)
	}
}
