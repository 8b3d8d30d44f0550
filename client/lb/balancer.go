package lb

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Balancer is the default [Picker].
type Balancer struct {
	o    Options
	view atomic.Pointer[view]
	due  atomic.Int64 // when the next probe may be made, else none
	pool sync.Pool    // of *Call

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
	b.pool.New = func() any { return new(Call) }
	b.view.Store(&view{})
	b.due.Store(none)
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
	prev, next *Call
}

// Done says how the call ended. It must be called once; the call is nobody's then.
func (c *Call) Done(now time.Duration, r Result) {
	b, s := c.b, c.stat
	if b == nil {
		return // of a picker that keeps no account
	}
	node := *c.Node
	changed := s.end(c, now, r)
	*c = Call{}
	b.pool.Put(c)
	b.note(now, s, &node, changed)
}

// Update implements [Picker].
func (b *Balancer) Update(now time.Duration, nodes []Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = b.o.Subset.of(nodes)
	stats := make(map[string]*stat, len(b.nodes))
	for i := range b.nodes {
		key := b.nodes[i].Key
		s := b.stats[key]
		if s == nil {
			s = newStat(key, b.o.Decay)
			s.standing.max = b.o.EjectMax
			s.standing.random = func() float64 { return float64(b.o.Random()>>11) / (1 << 53) }
		}
		stats[key] = s
	}
	b.stats = stats
	b.rebuild(now)
}

// Pick implements [Picker].
func (b *Balancer) Pick(now time.Duration, r Request) *Call {
	if int64(now) >= b.due.Load() && r.Retryable && !b.o.Probed {
		if c := b.probe(now); c != nil {
			return c
		}
	}
	m := b.choose(b.view.Load(), now, &r)
	if m == nil {
		return nil
	}
	return b.begin(m, now, false)
}

func (b *Balancer) begin(m *member, now time.Duration, probe bool) *Call {
	c := b.pool.Get().(*Call)
	c.Node, c.b, c.stat, c.began, c.probe = &m.Node, b, m.stat, now, probe
	m.stat.begin(c)
	return c
}

// choose returns the cheapest of some random members, those of the caller's zone
// as far as they bear it; nil when there are none.
func (b *Balancer) choose(v *view, now time.Duration, r *Request) *member {
	set := v.near
	if len(v.far) > 0 && (len(set) == 0 || float64(b.o.Random()>>11)/(1<<53) >= v.nearShare) {
		set = v.far
	}
	if r.Exclude != nil {
		if set = v.without(set, r.Exclude); len(set) == 0 {
			set = v.all
		}
	}
	switch n := uint64(len(set)); {
	case n == 0:
		return nil
	case n == 1:
		return set[0]
	case b.o.Choices == 2:
		bits := b.o.Random()
		i, j := (bits>>32)*n>>32, (bits&(1<<32-1))*(n-1)>>32
		if j >= i {
			j++
		}
		if set[j].cost(now) < set[i].cost(now) {
			return set[j]
		}
		return set[i]
	default:
		return b.chooseAmong(set, now)
	}
}

// chooseAmong is choose for more than two choices.
func (b *Balancer) chooseAmong(set []*member, now time.Duration) *member {
	var best *member
	least := 0.
	var drawn [maxChoices]int
	for k := range min(b.o.Choices, len(set)) {
		i := int(b.o.Random() % uint64(len(set)))
		for again := true; again; {
			again = false
			for _, d := range drawn[:k] {
				if d == i {
					i, again = (i+1)%len(set), true
				}
			}
		}
		drawn[k] = i
		if cost := set[i].cost(now); best == nil || cost < least {
			best, least = set[i], cost
		}
	}
	return best
}

// probe begins a call to an instance that is out and may be probed, if there is one.
func (b *Balancer) probe(now time.Duration) *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.view.Load().out {
		m.stat.mu.Lock()
		due := m.stat.standing.due(now)
		m.stat.mu.Unlock()
		if due {
			b.schedule()
			return b.begin(m, now, true)
		}
	}
	return nil
}

// Probes returns the instances that are out and are to be probed now, and when to
// ask again at the latest; a negative time when only a change of standing makes it
// worthwhile. For each, Probe must be told what came of it.
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

// Probe says how a probe of an instance ended.
func (b *Balancer) Probe(now time.Duration, key string, ok bool) {
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
	changed := s.standing.probed(now, ok)
	s.mu.Unlock()
	b.note(now, s, &node, changed)
}

// note acts on a change of standing.
func (b *Balancer) note(now time.Duration, s *stat, node *Node, changed change) {
	if changed == unchanged {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if changed == cameIn {
		s.ramp.Store(max(int64(now), 1))
	}
	if changed == moved {
		b.schedule()
		return
	}
	b.rebuild(now)
	if b.o.Observe != nil {
		reason := "its probes are good"
		if changed == wentOut {
			reason = "its calls fail"
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
