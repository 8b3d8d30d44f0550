package consul

import (
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// jsonUIService is a service in the list for dashboards.
type jsonUIService struct {
	Kind                 string `json:",omitempty"`
	Name                 string
	Datacenter           string
	Tags                 []string
	Nodes                []string
	ExternalSources      []string
	InstanceCount        int
	ChecksPassing        int
	ChecksWarning        int
	ChecksCritical       int
	ConnectedWithProxy   bool
	ConnectedWithGateway bool
	TransparentProxy     bool
	ConnectNative        bool
	GatewayConfig        struct{}
}

func (q *request) uiServices() error {
	topic := skerry.Topic{Kind: skerry.TopicAll}
	if err := q.begin(topic); err != nil {
		return err
	}
	index := q.index(topic)
	list := []jsonUIService{}
	for _, name := range visible(q, q.f.b.Catalog.Services(), q.seesService) {
		s := jsonUIService{Name: name, Datacenter: q.f.b.Self.Datacenter, Tags: []string{}, Nodes: []string{}}
		for _, e := range visible(q, q.f.b.Catalog.Service(name).Spelled(name), q.allowed().Keep) {
			s.count(e)
		}
		if s.InstanceCount == 0 && q.hides() {
			continue // the caller may see none
		}
		slices.Sort(s.Tags)
		list = append(list, s)
	}
	list, err := filtered(q, list)
	if err != nil {
		return err
	}
	q.meta(index)
	return q.json(list)
}

func (s *jsonUIService) count(e *skerry.Entry) {
	s.InstanceCount++
	s.Nodes = append(s.Nodes, e.Node.Name)
	for _, tag := range e.Instance.Tags {
		if !slices.Contains(s.Tags, tag) {
			s.Tags = append(s.Tags, tag)
		}
	}
	if src := e.Instance.Meta["external-source"]; src != "" && !slices.Contains(s.ExternalSources, src) {
		s.ExternalSources = append(s.ExternalSources, src)
	}
	for _, c := range e.Checks {
		switch c.Status {
		case skerry.Passing:
			s.ChecksPassing++
		case skerry.Warning:
			s.ChecksWarning++
		case skerry.Critical:
			s.ChecksCritical++
		}
	}
}

type jsonUINode struct {
	nodeShape
	Services []wire.Service
	Checks   []wire.Check
}

func (q *request) oneUINode(v *skerry.NodeView) jsonUINode {
	n := jsonUINode{nodeShape: wire.NodeOf(v.Node), Services: []wire.Service{}, Checks: []wire.Check{}}
	for _, i := range visible(q, v.Instances, func(i *skerry.Instance) bool { return q.seesService(i.Service) }) {
		n.Services = append(n.Services, wire.ServiceOf(i))
	}
	for _, c := range visible(q, v.Checks, func(c *skerry.Check) bool { return q.seesService(c.ServiceName) }) {
		n.Checks = append(n.Checks, wire.CheckOf(v.Node.Name, c))
	}
	return n
}

func (q *request) uiNodes() error {
	topic := skerry.Topic{Kind: skerry.TopicAll}
	if err := q.begin(topic); err != nil {
		return err
	}
	index := q.index(topic)
	list := []jsonUINode{}
	for _, v := range visible(q, q.f.b.Catalog.Nodes(), func(v *skerry.NodeView) bool { return q.seesNode(v.Node.Name) }) {
		list = append(list, q.oneUINode(v))
	}
	list, err := filtered(q, list)
	if err != nil {
		return err
	}
	q.meta(index)
	return q.json(list)
}

func (q *request) uiNode() error {
	topic := skerry.Topic{Kind: skerry.TopicNode, Name: q.rest}
	if err := q.begin(topic); err != nil {
		return err
	}
	index := q.index(topic)
	v := q.f.b.Catalog.Node(q.rest)
	if v != nil && !q.seesNode(v.Node.Name) {
		q.leftOut()
		v = nil
	}
	q.meta(index)
	if v == nil {
		return q.json(nil)
	}
	return q.json(q.oneUINode(v))
}
