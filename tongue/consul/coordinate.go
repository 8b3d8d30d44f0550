package consul

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
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
	self := q.f.b.Self
	all := map[string]map[string]*coordinate.Coordinate{self.Datacenter: {self.Name: coordinate.NewCoordinate(coordinate.DefaultConfig())}}
	names := []string{self.Datacenter}
	if far := q.f.b.Datacenters; far != nil {
		all = far.Coordinates()
		for _, dc := range far.Datacenters() {
			names = append(names, dc.Name)
		}
	}
	list := []datacenter{}
	for _, name := range names {
		one := datacenter{name, "wan", []jsonCoordinate{}}
		for _, server := range slices.Sorted(maps.Keys(all[name])) {
			one.Coordinates = append(one.Coordinates, jsonCoordinate{Node: server, Coord: all[name][server]})
		}
		list = append(list, one)
	}
	return q.json(list)
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
			index, changed := q.f.b.Coords.Changed()
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
	all, index := q.f.b.Coords.All()
	if sc != nil {
		index = known
	}
	list := []jsonCoordinate{}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		v := q.f.b.Catalog.Node(node)
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
	coords, catalog := q.f.b.Coords, q.f.b.Catalog
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
		Token      wire.Ignored
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
	q.f.b.Coords.Update(body.Node, c)
	q.empty()
	return nil
}
