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
	// Client names the caller, for good: the same over restarts, another for each. It is of no
	// effect with a Position; without both all instances are used.
	Client string
	// Position is the caller's place on the ring of all callers, above 0 and below 1, handed
	// out by a registry that knows them. It spreads them better than chance does. 0: none.
	Position float64
}

func (s Subset) withDefaults() Subset {
	s.Size = max(cmp.Or(s.Size, 32), 2*play)
	s.Above = cmp.Or(s.Above, 100)
	return s
}

// Of returns the caller's part of the nodes. held reports those that it has already.
// [Balancer.Update] does it with Options.Subset; transports that connect before they
// update call it themselves.
func (s Subset) Of(nodes []Node, held func(key string) bool) []Node {
	s = s.withDefaults()
	if s.Above < 0 || len(nodes) <= max(s.Above, s.Size) {
		return slices.Clone(nodes)
	}
	switch {
	case s.Position > 0:
		return s.ring(nodes, held)
	case s.Client != "":
		return s.rendezvous(nodes)
	}
	return slices.Clone(nodes)
}

// scored is a node's position in a list, and its hash.
type scored struct {
	score uint64
	at    int
}

// sorted returns the nodes by falling score, each score another.
func sorted(nodes []Node, score func(key string) uint64) []scored {
	all := make([]scored, len(nodes))
	for i := range nodes {
		all[i] = scored{score(nodes[i].Key), i}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(nodes[a.at].Key, nodes[b.at].Key))
	})
	return all
}

// rendezvous takes the nodes that score highest with the caller's name (Thaler and
// Ravishankar, 1998; gRPC's A68): a node that comes or goes moves no other.
func (s Subset) rendezvous(nodes []Node) []Node {
	client := hash(s.Client)
	out := make([]Node, s.Size)
	for i, n := range sorted(nodes, func(key string) uint64 { return mix(client ^ hash(key)) })[:s.Size] {
		out[i] = nodes[n.at]
	}
	return out
}

// play is by how many nodes an arc may be off its place before it follows: a node
// that comes or goes shifts the places of many by one.
const play = 1

// ring lays callers and nodes on one ring, each at even distances, and takes an arc
// from the caller's place on (Twitter's deterministic aperture). Of the nodes about
// its ends, those that the caller has are as good as the next.
func (s Subset) ring(nodes []Node, held func(key string) bool) []Node {
	all := sorted(nodes, hash)
	from := int(math.Floor(s.Position*float64(len(all)))) + len(all)
	node := func(i int) Node { return nodes[all[(from+i)%len(all)].at] }
	var out, fill []Node
	for i := play; i < s.Size-play; i++ {
		out = append(out, node(i))
	}
	for i := range 2 * play {
		for _, i := range []int{play - 1 - i, s.Size - play + i} {
			if n := node(i); held(n.Key) && len(out) < s.Size {
				out = append(out, n)
			} else {
				fill = append(fill, n)
			}
		}
	}
	return append(out, fill[:s.Size-len(out)]...)
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
