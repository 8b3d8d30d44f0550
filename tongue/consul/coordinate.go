package consul

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
)

type jsonCoordinate struct {
	Node    string
	Segment string
	Coord   *coordinate.Coordinate
}

func (q *request) coordinateDatacenters() error {
	type datacenter struct {
		Datacenter  string
		AreaID      string
		Coordinates []jsonCoordinate
	}
	c := q.t.b.Coords.Get(q.t.cfg.NodeName)
	if c == nil {
		c = coordinate.NewCoordinate(coordinate.DefaultConfig())
	}
	return q.json([]datacenter{{q.t.cfg.Datacenter, "wan", []jsonCoordinate{{Node: q.t.cfg.NodeName + "." + q.t.cfg.Datacenter, Coord: c}}}})
}

func (q *request) coordinateNodes() error {
	list, index, err := q.coordinates(func(string) bool { return true })
	if err != nil {
		return err
	}
	q.meta(index)
	return q.json(list)
}

func (q *request) coordinateNode() error {
	if err := q.must(skerry.ResourceNode, q.rest, skerry.AccessRead); err != nil {
		return err
	}
	list, index, err := q.coordinates(func(node string) bool { return skerry.SameName(node, q.rest) })
	if err != nil {
		return err
	}
	if len(list) == 0 {
		q.w.WriteHeader(404)
		return nil
	}
	q.meta(index)
	return q.json(list)
}

func (q *request) coordinates(keep func(node string) bool) ([]jsonCoordinate, uint64, error) {
	if err := q.p.query(); err != nil {
		return nil, 0, err
	}
	sc := q.narrowedCoordinates()
	if sc != nil {
		if err := q.blockOn(sc); err != nil {
			return nil, 0, err
		}
	} else if q.p.index > 0 {
		err := q.await(func() (bool, <-chan struct{}) {
			index, changed := q.t.b.Coords.Changed()
			return index != q.p.index, changed
		}, nil)
		if err != nil {
			return nil, 0, err
		}
	}
	known := uint64(0)
	if sc != nil {
		known = q.indexOf(sc)
	}
	all, index := q.t.b.Coords.All()
	if sc != nil {
		index = known
	}
	list := []jsonCoordinate{}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		v := q.t.b.Catalog.Node(node)
		if v != nil && keep(v.Node.Name) && v.Node.HasMeta(q.p.metaFilter()) {
			list = append(list, jsonCoordinate{Node: v.Node.Name, Coord: all[node]})
		}
	}
	list = visible(q, list, func(c jsonCoordinate) bool { return q.seesNode(c.Node) })
	list, err := filtered(q, list)
	return list, index, err
}

// narrowedCoordinates is narrowed for the coordinates of all nodes.
func (q *request) narrowedCoordinates() *scene {
	if !q.hides() || q.who.AllowsBelow(skerry.ResourceNode, "", skerry.AccessRead) {
		return nil
	}
	coords, catalog := q.t.b.Coords, q.t.b.Catalog
	return &scene{
		name: "coordinates",
		at: func() uint64 {
			index, _ := coords.Changed()
			return index
		},
		watch: coords.Changed,
		look: func(who skerry.Identity, s *sight) {
			all, _ := coords.All()
			for _, node := range slices.Sorted(maps.Keys(all)) {
				v := catalog.Node(node)
				if v != nil && who.Allows(skerry.ResourceNode, v.Node.Name, skerry.AccessRead) {
					s.add(0, node, fmt.Sprint(*all[node]))
				}
			}
		},
	}
}

func (q *request) coordinateUpdate() error {
	var body struct {
		Node       string
		Datacenter string
		Segment    string
		Coord      *coordinate.Coordinate
		Token      ignored
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.reachesNamed(body.Datacenter); err != nil {
		return err
	}
	if err := q.must(skerry.ResourceNode, body.Node, skerry.AccessWrite); err != nil {
		return err
	}
	c := body.Coord
	if c == nil || !c.IsValid() || len(c.Vec) != int(coordinate.DefaultConfig().Dimensionality) {
		return serverError("incompatible coordinate")
	}
	q.t.b.Coords.Update(body.Node, c)
	q.empty()
	return nil
}

// Coordinates are the network coordinates of nodes, as agents measured them.
type Coordinates interface {
	Update(node string, c *coordinate.Coordinate)
	Get(node string) *coordinate.Coordinate
	// From returns the distances from a node to others in seconds, +Inf where one
	// is not known; nil when the node has no coordinate.
	From(node string) func(to string) float64
	// All returns them by folded node name, with the index of the last change.
	All() (map[string]*coordinate.Coordinate, uint64)
	Changed() (index uint64, changed <-chan struct{})
}

// sortNear orders list by the distance of each element's node from the node that
// ?near names. Without it, or when that node has no coordinate, the order stays.
func sortNear[T any](q *request, list []T, node func(T) string) []T {
	from := q.p.near
	if from == skerry.NearAgent {
		from = q.t.cfg.NodeName
	}
	if from == "" || q.t.b.Catalog.Node(from) == nil || q.unseen(skerry.ResourceNode, from) { // a coordinate may be kept for a node that is gone
		return list
	}
	distance := q.t.b.Coords.From(from)
	if distance == nil {
		return list
	}
	return skerry.SortNear(list, func(v T) float64 { return distance(node(v)) })
}

func (q *request) sortEntries(entries []*skerry.Entry) []*skerry.Entry {
	return sortNear(q, entries, func(e *skerry.Entry) string { return e.Node.Name })
}
