package consul

import (
	"math"
	"slices"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
)

// Coordinates are the network coordinates of nodes, as agents measured them.
type Coordinates interface {
	Update(node string, c *coordinate.Coordinate)
	Get(node string) *coordinate.Coordinate
	// All returns them by node name, with the index of the last change.
	All() (map[string]*coordinate.Coordinate, uint64)
	Changed() (index uint64, changed <-chan struct{})
}

// sortNear orders list by the distance of each element's node from the node that
// ?near names. Without it, or when that node has no coordinate, the order stays.
// node is asked for the elements' first places.
func sortNear[T any](q *request, list []T, node func(i int) string) []T {
	from := q.nearest()
	if from == nil {
		return list
	}
	type placed struct {
		v        T
		distance float64
	}
	all := make([]placed, len(list))
	for i, v := range list {
		all[i] = placed{v, math.Inf(1)}
		if c := q.t.b.Coords.Get(node(i)); c != nil && c.IsCompatibleWith(from) {
			all[i].distance = from.DistanceTo(c).Seconds()
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		switch {
		case a.distance < b.distance:
			return -1
		case a.distance > b.distance:
			return 1
		}
		return 0
	})
	out := make([]T, len(list))
	for i, p := range all {
		out[i] = p.v
	}
	return out
}

func (q *request) nearest() *coordinate.Coordinate {
	switch q.p.near {
	case "":
		return nil
	case "_agent":
		return q.t.b.Coords.Get(q.t.cfg.NodeName)
	}
	if q.t.b.Catalog.Node(q.p.near) == nil {
		return nil // a coordinate may be kept for a node that is gone
	}
	return q.t.b.Coords.Get(q.p.near)
}

func (q *request) sortEntries(entries []*skerry.Entry) []*skerry.Entry {
	return sortNear(q, entries, func(i int) string { return entries[i].Node.Name })
}
