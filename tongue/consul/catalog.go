package consul

import (
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

func (q *request) catalogDatacenters() error {
	names := []string{q.f.b.Self.Datacenter}
	if all := q.f.b.Datacenters; all != nil {
		for _, dc := range all.Datacenters() {
			names = append(names, dc.Name)
		}
	}
	return q.json(names)
}

func (q *request) catalogNodes() error {
	topic := skerry.Topic{Kind: skerry.TopicNodes}
	if err := q.begin(topic); err != nil {
		return err
	}
	index := q.index(topic)
	list := []wire.Node{}
	want := q.p.metaFilter()
	for _, v := range q.f.b.Catalog.Nodes() {
		if v.Node.HasMeta(want) {
			list = append(list, wire.NodeOf(v.Node))
		}
	}
	list = visible(q, list, func(n wire.Node) bool { return q.seesNode(n.Node) })
	list, err := filtered(q, list)
	if err != nil {
		return err
	}
	list = sortNear(q, list, func(n wire.Node) string { return n.Node })
	q.meta(index)
	return q.json(list)
}

func (q *request) catalogServices() error {
	topic := skerry.Topic{Kind: skerry.TopicServices}
	if err := q.begin(topic); err != nil {
		return err
	}
	if q.p.cached {
		q.cached()
	}
	index := q.index(topic)
	keep, sieve, err := q.keepInstance()
	if err != nil {
		return err
	}
	out := map[string][]string{}
	for _, name := range visible(q, q.f.b.Catalog.Services(), q.seesService) {
		var tags []string
		kept := false
		for _, e := range q.f.b.Catalog.Service(name).Spelled(name) {
			if !keep(e) || q.hides() && !q.seesNode(e.Node.Name) {
				continue
			}
			kept = true
			for _, tag := range e.Instance.Tags {
				if !slices.Contains(tags, tag) {
					tags = append(tags, tag)
				}
			}
		}
		if kept {
			out[name] = wire.TagsOf(tags)
		}
	}
	if err := sieve.failed(); err != nil {
		return err
	}
	q.meta(index)
	return q.json(out)
}

// keepInstance returns whether node-meta and filter keep an instance. The sieve is the
// filter's, nil without one.
func (q *request) keepInstance() (func(*skerry.Entry) bool, *sieve, error) {
	want := q.p.metaFilter()
	if q.p.filter == "" {
		return func(e *skerry.Entry) bool { return e.Node.HasMeta(want) }, nil, nil
	}
	s, err := q.newSieve(wire.CatalogService{})
	if err != nil {
		return nil, nil, err
	}
	return func(e *skerry.Entry) bool {
		return e.Node.HasMeta(want) && s.keeps(wire.CatalogServiceOf(e.Node, e.Instance))
	}, s, nil
}

func (q *request) catalogService() error {
	if q.rest == "" {
		return bare(badRequest("Missing service name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicService, Name: q.rest}
	q.asks(q.rest)
	if err := q.begin(topic); err != nil {
		return err
	}
	if q.p.cached {
		q.cached()
	}
	v, err := q.view(q.rest)
	if err != nil {
		return err
	}
	var (
		pipeline skerry.Pipeline
		sieve    *sieve
	)
	if q.p.hasTags {
		pipeline = append(pipeline, skerry.HasTags(q.p.tags))
	}
	if len(q.p.nodeMeta) > 0 {
		pipeline = append(pipeline, skerry.HasNodeMeta(q.p.metaFilter()))
	}
	if q.p.filter != "" {
		stage, s, err := filterStage(q, func(e *skerry.Entry) wire.CatalogService { return wire.CatalogServiceOf(e.Node, e.Instance) })
		if err != nil {
			return err
		}
		pipeline, sieve = append(pipeline, stage), s
	}
	entries := q.sortEntries(pipeline.Select(q.entries(v)))
	if err := sieve.failed(); err != nil {
		return err
	}
	list := make([]wire.CatalogService, len(entries))
	for i, e := range entries {
		list[i] = wire.CatalogServiceOf(e.Node, e.Instance)
	}
	q.gets(q.rest, v.Index)
	q.meta(v.Index)
	q.cause(v, len(list), q.emptied(v, pipeline))
	return q.json(list)
}

func (q *request) catalogNode() error {
	v, index, services, err := q.nodeServices()
	if err != nil {
		return err
	}
	q.meta(index)
	if v == nil {
		return q.json(nil)
	}
	byID := make(map[string]wire.Service, len(services))
	for _, s := range services {
		byID[s.ID] = s
	}
	return q.json(struct {
		Node     wire.Node
		Services map[string]wire.Service
	}{wire.NodeOf(v.Node), byID})
}

func (q *request) catalogNodeServices() error {
	v, index, services, err := q.nodeServices()
	if err != nil {
		return err
	}
	q.meta(index)
	type answer struct {
		Node     *wire.Node
		Services []wire.Service
	}
	if v == nil {
		return q.json(answer{})
	}
	n := wire.NodeOf(v.Node)
	return q.json(answer{&n, services})
}

func (q *request) nodeServices() (*skerry.NodeView, uint64, []wire.Service, error) {
	if q.rest == "" {
		return nil, 0, nil, bare(badRequest("Missing node name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicNode, Name: q.rest}
	if err := q.begin(topic); err != nil {
		return nil, 0, nil, err
	}
	index := q.index(topic)
	v := q.f.b.Catalog.Node(q.rest)
	if v != nil && !q.seesNode(v.Node.Name) {
		q.leftOut()
		v = nil
	}
	services := []wire.Service{}
	if v != nil {
		services = make([]wire.Service, len(v.Instances))
		for n, i := range v.Instances {
			services[n] = wire.ServiceOf(i)
		}
	}
	services = visible(q, services, func(s wire.Service) bool { return q.seesService(s.Service) })
	services, err := filtered(q, services)
	return v, index, services, err
}

// emptyList answers a list of the mesh, which is always empty.
func (q *request) emptyList() error {
	if err := q.begin(skerry.Topic{Kind: skerry.TopicService, Name: q.rest}); err != nil {
		return err
	}
	q.meta(q.index(skerry.Topic{Kind: skerry.TopicService, Name: q.rest}))
	return q.json([]struct{}{})
}
