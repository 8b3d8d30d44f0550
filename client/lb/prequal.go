package lb

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Constants of the paper's evaluation (section 5).
const (
	asksPerCall = 3
	mostPool    = 16 // answers; at most half as many as there are instances
	answerAge   = time.Second
	hotQuantile = .84 // of the calls in flight that instances have reported
	leastPool   = 2   // answers; with fewer, chance decides
	toldWindow  = 64  // answers that the quantile is of
)

// Load is the load that an instance reports.
type Load struct {
	// InFlight is how many calls it has not answered yet.
	InFlight int
	// Latency is the latency of calls that come in while about as many are in flight.
	Latency time.Duration
}

// answer is a Load in the pool.
type answer struct {
	of   *stat
	load Load
	at   time.Duration
	uses int
}

// pool is the last answers about load, for [Prequal].
type pool struct {
	mu      sync.Mutex
	answers []answer // oldest first
	told    [toldWindow]int
	n       int // answers so far
	oldest  bool
	// reuse is how many calls an answer serves: as many answers come in as are used
	// up (the paper's b_reuse).
	reuse int
}

// best returns the member whose answer is best, among those in the set: of those that
// are not hot the fastest, else the one with the fewest calls; nil when too little is
// known.
func (p *pool) best(s *set, now time.Duration) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = slices.DeleteFunc(p.answers, func(a answer) bool { return now-a.at > answerAge })
	hot := p.hot()
	chosen, worst, known := -1, -1, 0
	for i := range p.answers {
		a := &p.answers[i]
		if s.of(a.of) == nil {
			continue
		}
		known++
		if chosen < 0 || better(a, &p.answers[chosen], hot) {
			chosen = i
		}
		if worst < 0 || better(&p.answers[worst], a, hot) {
			worst = i
		}
	}
	if known < leastPool {
		return nil
	}
	a := &p.answers[chosen]
	m := s.of(a.of)
	a.load.InFlight++ // the call that goes there now
	a.uses++
	drop := -1
	if a.uses >= p.reuse {
		drop = chosen
	}
	// One answer goes with each call, the worst and the oldest in turn, so that the pool
	// does not fill up with bad instances.
	if p.oldest = !p.oldest; p.oldest {
		worst = 0
	}
	p.remove(drop, worst)
	return m
}

func (p *pool) remove(these ...int) {
	slices.Sort(these)
	these = slices.Compact(these)
	for _, i := range slices.Backward(these) {
		if i >= 0 && len(p.answers) > leastPool {
			p.answers = slices.Delete(p.answers, i, i+1)
		}
	}
}

// better reports whether a is better than b.
func better(a, b *answer, hot int) bool {
	aHot, bHot := a.load.InFlight > hot, b.load.InFlight > hot
	switch {
	case aHot != bHot:
		return bHot
	case aHot:
		return a.load.InFlight < b.load.InFlight
	}
	return a.load.Latency < b.load.Latency
}

// hot is the number of calls in flight above which an instance is hot. Called with mu
// held.
func (p *pool) hot() int {
	told := slices.Clone(p.told[:min(p.n, toldWindow)])
	if len(told) == 0 {
		return math.MaxInt
	}
	slices.Sort(told)
	return told[int(hotQuantile*float64(len(told)-1))]
}

// take takes an answer in, one of so many instances'.
func (p *pool) take(of *stat, now time.Duration, l Load, instances int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told[p.n%toldWindow] = l.InFlight
	p.n++
	size := min(max(instances/2, leastPool), mostPool)
	// (1+δ) / ((1-m/n)·r_probe - r_remove), with δ = 1 and r_remove = 1.
	per := (1-min(float64(size)/float64(instances), .5))*asksPerCall - 1
	p.reuse = int(math.Ceil(2 / per))
	if over := len(p.answers) + 1 - size; over > 0 {
		p.answers = slices.Delete(p.answers, 0, over)
	}
	p.answers = append(p.answers, answer{of: of, load: l, at: now})
}

// Ask returns the instances to be asked for their load after a call, for the policy
// [Prequal]; none with others. Told takes their answers.
func (b *Balancer) Ask() []Node {
	if b.o.Policy != Prequal {
		return nil
	}
	v := b.view.Load()
	var out []Node
	for range min(asksPerCall, len(v.all.members)) {
		m := v.all.members[v.all.draw(b.o.Random())]
		if !slices.ContainsFunc(out, func(n Node) bool { return n.Key == m.Key }) {
			out = append(out, m.Node)
		}
	}
	return out
}

// Told takes the load that an instance has reported.
func (b *Balancer) Told(now time.Duration, key string, l Load) {
	b.mu.Lock()
	s := b.stats[key]
	b.mu.Unlock()
	if n := len(b.view.Load().all.members); s != nil && n > 0 {
		b.answers.take(s, now, l, n)
	}
}
