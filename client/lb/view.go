package lb

import (
	"math/bits"
	"slices"
	"sort"
	"time"
)

// view is the list as picks see it. It does not change; a change makes another.
type view struct {
	near, far set     // of the caller's zone, and of others
	nearShare float64 // of the calls that go to near
	all       set     // near and far
	out       []*member
	ring      ring // for Hash
}

// member is an instance of a view.
type member struct {
	Node
	stat   *stat
	weight float64
	slow   time.Duration // the slow start's length, 0 when it has none
}

// leastRamp is the share of its own share that an instance begins with.
const leastRamp = .1

// ready is the share of its share that an instance takes while it is new or has
// just been let in again.
func (m *member) ready(now time.Duration) float64 {
	ready := 1.
	if m.slow != 0 {
		ready = min(1, float64(now-m.Started)/float64(m.slow))
	}
	if from := m.stat.letIn.Load(); from != 0 {
		ready = min(ready, float64(int64(now)-from)/float64(rampAfterProbes))
	}
	return max(ready, leastRamp)
}

// set is instances to draw from.
type set struct {
	members []*member
	upTo    []float64 // the sums of the weights; nil when all weigh the same
	by      map[*stat]*member
}

// of returns the member with these statistics, nil if it is not in the set.
func (s *set) of(st *stat) *member {
	if s.by != nil {
		return s.by[st]
	}
	if at := slices.IndexFunc(s.members, func(m *member) bool { return m.stat == st }); at >= 0 {
		return s.members[at]
	}
	return nil
}

// index lets of find without a search.
func (s *set) index() {
	s.by = make(map[*stat]*member, len(s.members))
	for _, m := range s.members {
		s.by[m.stat] = m
	}
}

func newSet(members []*member) set {
	s := set{members: members}
	for _, m := range members {
		if m.weight != members[0].weight {
			s.upTo = make([]float64, len(members))
			sum := 0.
			for i, m := range members {
				sum += m.weight
				s.upTo[i] = sum
			}
			break
		}
	}
	return s
}

// draw returns the position of a random member, each as often as it weighs.
func (s *set) draw(random uint64) int {
	if s.upTo == nil {
		hi, _ := bits.Mul64(random, uint64(len(s.members)))
		return int(hi)
	}
	at := float64(random>>11) / (1 << 53) * s.upTo[len(s.upTo)-1]
	return min(sort.SearchFloat64s(s.upTo, at), len(s.members)-1)
}

// rebuild makes the view anew. Called with mu held.
func (b *Balancer) rebuild(now time.Duration) {
	v := &view{}
	var in, out []*member
	old := false // some instance is not new
	for i := range b.nodes {
		n := b.nodes[i]
		if n.Down {
			continue
		}
		m := &member{Node: n, stat: b.stats[n.Key], weight: 1}
		if n.Weight > 0 {
			m.weight = n.Weight
		}
		if b.o.SlowStart > 0 && n.Started != 0 && now-n.Started < b.o.SlowStart {
			m.slow = b.o.SlowStart
		} else {
			old = true
		}
		m.stat.mu.Lock()
		isOut := m.stat.standing.out
		m.stat.mu.Unlock()
		if isOut {
			out = append(out, m)
		} else {
			in = append(in, m)
		}
	}
	// When so many fail, it may well be the caller, or those that are left could not
	// bear what the others took: all are used.
	v.out = out
	everybody := append(slices.Clip(in), out...)
	if float64(len(out)) > b.o.MaxEjected*float64(len(everybody)) {
		in = everybody
	}
	if !old {
		for _, m := range in {
			m.slow = 0
		}
	}
	v.all = newSet(in)
	v.split(in, b.o.Zone, b.o.Callers)
	switch b.o.Policy {
	case Hash:
		v.ring = newRing(everybody, func(m *member) bool { return slices.Contains(in, m) })
	case Prequal:
		v.near.index()
		v.far.index()
	}
	b.view.Store(v)
	b.schedule()
}

// without returns the members that exclude leaves: of the set, or of all if it
// leaves none there; all when it leaves none at all.
func (v *view) without(s set, exclude func(*Node) bool) set {
	for _, s := range []set{s, v.all} {
		left := slices.DeleteFunc(slices.Clone(s.members), func(m *member) bool { return exclude(&m.Node) })
		if len(left) > 0 {
			return newSet(left)
		}
	}
	return v.all
}
