package lb

import (
	"cmp"
	"math"
	"slices"
)

// Subset bounds how many instances of a large service one caller connects to.
type Subset struct {
	// Size is how many; default 32.
	Size int
	// Above is how many instances there may be before only a part is used; default
	// 100, negative: always all.
	Above int
	// Client names the caller, for good: the same over restarts, another for each.
	// Without it, and without a Position, all instances are used.
	Client string
	// Position is the caller's place among all callers, handed out by a registry
	// that knows them. It spreads them better than chance does.
	Position Position
}

// Position is a place on a ring of callers: Rank of Of.
type Position struct{ Rank, Of int }

func (s Subset) withDefaults() Subset {
	s.Size = cmp.Or(max(s.Size, 0), 32)
	s.Above = cmp.Or(s.Above, 100)
	return s
}

// of returns the caller's part of the nodes.
func (s Subset) of(nodes []Node) []Node {
	if s.Above < 0 || len(nodes) <= max(s.Above, s.Size) {
		return slices.Clone(nodes)
	}
	switch {
	case s.Position.Of > 0:
		return s.ring(nodes)
	case s.Client != "":
		return s.rendezvous(nodes)
	}
	return slices.Clone(nodes)
}

// rendezvous takes the nodes that score highest with the caller's name (Thaler and
// Ravishankar, 1998; gRPC's A68): a node that comes or goes moves no other.
func (s Subset) rendezvous(nodes []Node) []Node {
	return s.best(nodes, func(key string) uint64 { return mix(hash(s.Client) ^ hash(key)) })
}

func (s Subset) best(nodes []Node, score func(key string) uint64) []Node {
	type scored struct {
		score uint64
		at    int
	}
	all := make([]scored, len(nodes))
	for i := range nodes {
		all[i] = scored{score(nodes[i].Key), i}
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.at, b.at)) })
	out := make([]Node, s.Size)
	for i := range out {
		out[i] = nodes[all[i].at]
	}
	return out
}

// ring lays callers and nodes on one ring, each at even distances, and takes an arc
// from the caller's place on (Twitter's deterministic aperture).
func (s Subset) ring(nodes []Node) []Node {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b Node) int {
		return cmp.Or(cmp.Compare(hash(a.Key), hash(b.Key)), cmp.Compare(a.Key, b.Key))
	})
	place := float64(s.Position.Rank%s.Position.Of) / float64(s.Position.Of)
	from := int(math.Floor(place * float64(len(sorted))))
	out := make([]Node, s.Size)
	for i := range out {
		out[i] = sorted[(from+i)%len(sorted)]
	}
	return out
}

// hash is FNV-1a, the same in every process, mixed so that its high bits are good.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
