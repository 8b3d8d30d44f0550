package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// fakeCatalog is a catalog in memory, filled by put.
type fakeCatalog struct {
	mu    sync.RWMutex
	index uint64
	nodes map[string]*skerry.NodeView
	views map[string]*skerry.View
}

func newFake() *fakeCatalog {
	return &fakeCatalog{index: 1, nodes: map[string]*skerry.NodeView{}, views: map[string]*skerry.View{}}
}

// put adds a node with instances and checks, or replaces it.
func (f *fakeCatalog) put(n *skerry.Node, instances []*skerry.Instance, checks ...*skerry.Check) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	for _, i := range instances {
		if i.Weights == (skerry.Weights{}) {
			i.Weights = skerry.Weights{Passing: 1, Warning: 1}
		}
	}
	f.nodes[strings.ToLower(n.Name)] = &skerry.NodeView{Node: n, Instances: instances, Checks: checks, Index: f.index}
	f.views = map[string]*skerry.View{}
	for _, name := range slices.Sorted(mapKeys(f.nodes)) {
		nv := f.nodes[name]
		for _, i := range nv.Instances {
			name := skerry.Fold(i.Service)
			v := f.views[name]
			if v == nil {
				v = &skerry.View{Service: name, Index: f.index}
				f.views[name] = v
			}
			e := &skerry.Entry{Node: nv.Node, Instance: i, Health: skerry.Passing}
			e.Checks = append(nv.InstanceChecks(""), nv.InstanceChecks(i.ID)...)
			for _, c := range e.Checks {
				e.Health = e.Health.Worse(c.Status)
			}
			v.Entries = append(v.Entries, e)
		}
	}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (f *fakeCatalog) Service(name string) *skerry.View {
	f.mu.RLock()
	defer f.mu.RUnlock()
	name = skerry.Fold(name)
	if v := f.views[name]; v != nil {
		return v
	}
	return &skerry.View{Service: name, Index: f.index, Cause: skerry.CauseUnknown}
}

func (f *fakeCatalog) Node(name string) *skerry.NodeView {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.nodes[strings.ToLower(name)]
}

func (f *fakeCatalog) Nodes() (out []*skerry.NodeView) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, v := range f.nodes {
		out = append(out, v)
	}
	return out
}

func (f *fakeCatalog) Services() []string { panic("DNS needs no list of services") }

func (f *fakeCatalog) Lookup(ip string) (out []skerry.Owned) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	is := func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && a.String() == ip
	}
	for _, v := range f.nodes {
		if is(v.Node.Address) {
			out = append(out, skerry.Owned{Node: v.Node})
		}
		for _, i := range v.Instances {
			if is(i.Address) {
				out = append(out, skerry.Owned{Node: v.Node, Instance: i})
			}
		}
	}
	return out
}

func (f *fakeCatalog) Watch(skerry.Topic) (uint64, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.index, make(chan struct{})
}

func (f *fakeCatalog) Foreign(uint64) bool { return false }

// one is a list of a single instance.
func one(i skerry.Instance) []*skerry.Instance { return []*skerry.Instance{&i} }

// check is a check of the instance with this ID, or of the node.
func check(id string, status skerry.Health) *skerry.Check {
	return &skerry.Check{ID: "c-" + id, Name: "c", Status: status, ServiceID: id}
}
