package lb

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Balancer is this package's [Picker].
type Balancer struct {
	o       Options
	view    atomic.Pointer[view]
	due     atomic.Int64  // when the next probe may be made, else none
	turn    atomic.Uint64 // for RoundRobin
	answers pool          // for Prequal
	calls   sync.Pool     // of *Call

	mu    sync.Mutex
	nodes []Node // of the subset
	stats map[string]*stat
}

var _ Picker = (*Balancer)(nil)

// New returns a picker without instances.
func New(o Options) *Balancer {
	o = o.withDefaults()
	if random := o.Random; random == nil {
		o.Random = rand.Uint64
	} else {
		var mu sync.Mutex
		o.Random = func() uint64 { mu.Lock(); defer mu.Unlock(); return random() }
	}
	b := &Balancer{o: o, stats: map[string]*stat{}}
	b.calls.New = func() any { return new(Call) }
	b.view.Store(&view{})
	b.due.Store(none)
	b.turn.Store(b.o.Random()) // callers that start together begin at different instances
	return b
}

// Call is a call under way.
type Call struct {
	// Node is where the call goes.
	Node *Node

	b          *Balancer
	stat       *stat
	began      time.Duration
	probe      bool
	stream     bool
	prev, next *Call
}

// Unheard reports whether the instance has answered no call since this one began, while
// the other instances do answer: it may hang.
func (c *Call) Unheard() bool {
	if c.stat.heard.Load() >= int64(c.began) {
		return false
	}
	failing, answer := c.b.elsewhere(c.stat, c.began)
	return failing < othersAnswer && answer
}

// Done reports how the call ended. It must be called once; the call must not be used
// afterwards.
func (c *Call) Done(now time.Duration, r Result) {
	b, s := c.b, c.stat
	node := *c.Node
	changed := s.end(c, now, r)
	*c = Call{}
	b.calls.Put(c)
	b.note(now, s, &node, changed)
}

// Update implements [Picker].
func (b *Balancer) Update(now time.Duration, nodes []Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = b.o.Subset.Of(nodes, func(key string) bool { return b.stats[key] != nil })
	stats := make(map[string]*stat, len(b.nodes))
	for i := range b.nodes {
		key := b.nodes[i].Key
		s := b.stats[key]
		if s == nil {
			s = newStat(key, b.o.Decay)
			s.standing.max = b.o.EjectMax
			s.standing.random = b.random
		}
		stats[key] = s
	}
	b.stats = stats
	b.rebuild(now)
}

// Pick implements [Picker].
func (b *Balancer) Pick(now time.Duration, r Request) *Call {
	if int64(now) >= b.due.Load() && r.Retryable && !b.o.Probed {
		if c := b.probe(now, r.Stream); c != nil {
			return c
		}
	}
	m := b.choose(b.view.Load(), now, &r)
	if m == nil {
		return nil
	}
	return b.begin(m, now, r.Stream, false)
}

func (b *Balancer) begin(m *member, now time.Duration, stream, probe bool) *Call {
	c := b.calls.Get().(*Call)
	c.Node, c.b, c.stat, c.began, c.stream, c.probe = &m.Node, b, m.stat, now, stream, probe
	m.stat.begin(c)
	return c
}

func (b *Balancer) random() float64 { return float64(b.o.Random()>>11) / (1 << 53) }

// probe begins a call to an instance that is out and may be probed, if there is one.
func (b *Balancer) probe(now time.Duration, stream bool) *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.view.Load().out {
		m.stat.mu.Lock()
		due := m.stat.standing.due(now)
		m.stat.mu.Unlock()
		if due {
			b.schedule()
			return b.begin(m, now, stream, true)
		}
	}
	return nil
}

// Probes returns the instances that are out and are to be probed now, and when to ask
// again at the latest; a negative time when only a change of standing makes it
// worthwhile. For each, Probe must be called with the result.
func (b *Balancer) Probes(now time.Duration) (due []Node, next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.view.Load().out {
		m.stat.mu.Lock()
		if m.stat.standing.due(now) {
			due = append(due, m.Node)
		}
		m.stat.mu.Unlock()
	}
	b.schedule()
	if at := b.due.Load(); at != none {
		return due, time.Duration(at)
	}
	return due, -1
}

// Probe reports how a probe of an instance ended.
func (b *Balancer) Probe(now time.Duration, key string, ok bool) {
	b.judge(now, key, func(s *standing) change { return s.probed(now, ok) })
}

// Eject takes an instance out that somebody has found not to answer, before more
// calls find it out; unless calls fail at the others too, so that the reason may be
// another.
func (b *Balancer) Eject(now time.Duration, key, reason string) {
	b.mu.Lock()
	s := b.stats[key]
	b.mu.Unlock()
	if s == nil {
		return
	}
	if failing, answer := b.elsewhere(s, now-silence); failing < othersAnswer && answer {
		b.judge(now, key, func(s *standing) change { return s.eject(now, NoAnswer, reason) })
	}
}

// judge lets f change an instance's standing.
func (b *Balancer) judge(now time.Duration, key string, f func(*standing) change) {
	b.mu.Lock()
	s := b.stats[key]
	var node Node
	for i := range b.nodes {
		if b.nodes[i].Key == key {
			node = b.nodes[i]
		}
	}
	b.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	changed := f(&s.standing)
	s.mu.Unlock()
	b.note(now, s, &node, changed)
}

// elsewhere returns the state of the other instances: which part of their last few calls
// failed, and whether any has answered since then, or has not been called.
func (b *Balancer) elsewhere(but *stat, since time.Duration) (failing float64, answer bool) {
	failed, calls, others := uint64(0), uint64(0), false
	for _, m := range b.view.Load().all.members {
		if m.stat == but {
			continue
		}
		w := m.stat.lately.Load()
		failed, calls = failed+w>>32, calls+w&math.MaxUint32
		answer = answer || m.stat.heard.Load() >= int64(since)
		others = others || m.stat.flying.Load() > 0
	}
	return float64(failed) / max(float64(calls), 1), answer || !others
}

// note acts on a change of standing.
func (b *Balancer) note(now time.Duration, s *stat, node *Node, changed change) {
	if changed == unchanged {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if changed == cameIn {
		s.letIn.Store(max(int64(now), 1))
		s.success.Store(math.Float64bits(1)) // the probes spoke for it
	}
	if changed == moved {
		b.schedule()
		return
	}
	b.rebuild(now)
	if b.o.Observe != nil {
		reason := "its probes are good"
		if changed == wentOut {
			s.mu.Lock()
			reason = s.standing.reason
			s.mu.Unlock()
		}
		b.o.Observe(Event{Node: *node, Out: changed == wentOut, Reason: reason})
	}
}

// schedule works out when the next probe may be made. Called with mu held.
func (b *Balancer) schedule() {
	at := none
	for _, m := range b.view.Load().out {
		m.stat.mu.Lock()
		if m.stat.standing.out {
			at = min(at, int64(m.stat.standing.probeAt))
		}
		m.stat.mu.Unlock()
	}
	b.due.Store(at)
}
