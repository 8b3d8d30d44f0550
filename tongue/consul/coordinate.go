package consul

import (
	"maps"
	"slices"

	"github.com/hashicorp/serf/coordinate"
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
	list, index, err := q.coordinates(func(node string) bool { return node == q.rest })
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
	if err := q.local(); err != nil {
		return nil, 0, err
	}
	if q.p.index > 0 {
		err := q.await(func() (bool, <-chan struct{}) {
			index, changed := q.t.b.Coords.Changed()
			return index != q.p.index, changed
		})
		if err != nil {
			return nil, 0, err
		}
	}
	all, index := q.t.b.Coords.All()
	list := []jsonCoordinate{}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		v := q.t.b.Catalog.Node(node)
		if v != nil && keep(v.Node.Name) && v.Node.HasMeta(q.p.metaFilter()) {
			list = append(list, jsonCoordinate{Node: v.Node.Name, Coord: all[node]})
		}
	}
	list, err := filtered(q.p.filter, list)
	return list, index, err
}

func (q *request) coordinateUpdate() error {
	var body struct {
		Node       string
		Datacenter string
		Segment    string
		Coord      *coordinate.Coordinate
	}
	if err := q.decode(&body, false); err != nil {
		return err
	}
	if body.Datacenter != "" && q.p.dc == "" {
		q.p.dc = body.Datacenter
	}
	if err := q.local(); err != nil {
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
