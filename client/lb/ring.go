package lb

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

const (
	ringPoints  = 160  // of an instance that weighs 1
	boundedLoad = 1.25 // of its share of the calls in flight
)

// HashOf returns a string's hash, for Request.Hash; the same in every process, and
// never 0.
func HashOf(s string) uint64 { return max(hash(s), 1) }

// ring is the members on a circle, each at many points, those that are out as well:
// their calls go to the next ones, and come back with them.
type ring struct {
	points  []point
	members []*member // that are in
	weight  float64   // of them
}

type point struct {
	at uint64
	m  *member
	in bool
}

func newRing(all []*member, in func(*member) bool) ring {
	var r ring
	for _, m := range all {
		isIn := in(m)
		if isIn {
			r.members = append(r.members, m)
			r.weight += m.weight
		}
		h := hash(m.Key)
		for n := range max(1, int(math.Round(ringPoints*m.weight))) {
			r.points = append(r.points, point{mix(h + uint64(n)*golden), m, isIn})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.m.Key, b.m.Key))
	})
	return r
}

// choose returns the first member from the call's place on that is in, has not been
// tried and is not overloaded; if all are, the first that is in.
func (r *ring) choose(q *Request) *member {
	if len(r.members) == 0 {
		return nil
	}
	most := 0. // calls of a member that weighs 1; 0 until it matters
	from := sort.Search(len(r.points), func(i int) bool { return r.points[i].at >= q.Hash })
	var first, untried *member
	for i := range r.points {
		p := &r.points[(from+i)%len(r.points)]
		if !p.in {
			continue
		}
		if first == nil {
			first = p.m
		}
		if q.Exclude != nil && q.Exclude(&p.m.Node) {
			continue
		}
		if untried == nil {
			untried = p.m
		}
		flying := p.m.stat.flying.Load()
		if flying == 0 {
			return p.m
		}
		if most == 0 {
			most = r.bound()
		}
		if float64(flying) < math.Ceil(most*p.m.weight) {
			return p.m
		}
	}
	return cmp.Or(untried, first)
}

// bound is how many calls a member that weighs 1 may have, with the next one.
func (r *ring) bound() float64 {
	flying := 1.
	for _, m := range r.members {
		flying += float64(m.stat.flying.Load())
	}
	return boundedLoad * flying / r.weight
}
