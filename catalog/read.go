package catalog

import (
	"slices"

	"github.com/skerryhq/skerry"
)

// Service implements [skerry.Catalog]. It takes no lock unless the service
// changed since it was last read.
func (t *Table) Service(name string) *skerry.View {
	name = skerry.Fold(name)
	if s, ok := t.warm.Load(name); ok {
		if v := s.(*service).view.Load(); v != nil {
			return v
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.services[name]
	if s == nil {
		return t.emptyView(name)
	}
	v := t.buildView(name, s)
	t.warm.LoadOrStore(name, s)
	return v
}

// buildView is called with mu held for reading: no writer can change the
// service between building and storing.
func (t *Table) buildView(name string, s *service) *skerry.View {
	if v := s.view.Load(); v != nil {
		return v
	}
	v := &skerry.View{Service: name, Index: s.topic.index, Entries: make([]*skerry.Entry, 0, len(s.items))}
	for _, sp := range s.spellings {
		v.Names = append(v.Names, sp.name)
	}
	slices.Sort(v.Names)
	v.Left = t.departed.services[name].entries
	shared := map[*node][]*skerry.Check{}
	for _, it := range s.items {
		at := it.owner.at
		nodeChecks, ok := shared[at]
		if !ok {
			nodeChecks = at.checksOf("")
			shared[at] = nodeChecks
		}
		e := &skerry.Entry{
			Node: at.record(), Instance: it.instance, Owner: it.owner.id,
			Guarded: it.owner.held, Health: skerry.Passing,
		}
		own := at.checksOf(it.instance.ID)
		if len(own) == 0 {
			e.Checks = nodeChecks
		} else {
			e.Checks = slices.Concat(nodeChecks, own)
		}
		for _, c := range e.Checks {
			e.Health = e.Health.Worse(c.Status)
		}
		if e.Instance.Draining {
			v.Draining = append(v.Draining, e)
			continue
		}
		if e.Guarded {
			v.Guarded++
			v.Cause = skerry.CauseGuarded
		}
		v.Entries = append(v.Entries, e)
	}
	if len(v.Entries) == 0 {
		v.Cause = skerry.CauseDraining
	}
	if !s.view.CompareAndSwap(nil, v) {
		return s.view.Load()
	}
	return v
}

// checksOf merges the checks of the node's owners for one service ID, or for the node.
func (n *node) checksOf(serviceID string) []*skerry.Check {
	var out []*skerry.Check
	merged := false
	for rank, o := range n.owners {
		it := o.items[serviceID]
		if it == nil || len(it.checks) == 0 {
			continue
		}
		if rank == 0 {
			out = it.checks
			continue
		}
		if !merged {
			out, merged = slices.Clone(out), true
		}
		for _, c := range it.checks {
			if n.outranked(rank, c.ID) {
				continue
			}
			at, _ := slices.BinarySearchFunc(out, c.ID, compareCheckID)
			out = slices.Insert(out, at, c)
		}
	}
	return out
}

// outranked reports whether an owner before the one at rank has a check of this ID.
func (n *node) outranked(rank int, checkID string) bool {
	for _, o := range n.owners[:rank] {
		if o.checks[checkID] != nil {
			return true
		}
	}
	return false
}

func compareCheckID(c *skerry.Check, id string) int { return skerry.CompareNames(c.ID, id) }

func (t *Table) emptyView(name string) *skerry.View {
	return &skerry.View{Service: name, Index: t.topics.absentOf(name).index, Cause: t.causeOf(name), Left: t.departed.services[name].entries}
}

func (t *Table) causeOf(name string) skerry.Cause {
	if d := t.departed.services[name]; d.cause != skerry.CauseNone {
		return d.cause
	}
	if t.cfg.Now().Before(t.recoverUntil) {
		return skerry.CauseRecovering
	}
	return skerry.CauseUnknown
}

// Node implements [skerry.Catalog].
func (t *Table) Node(name string) *skerry.NodeView {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n := t.nodes[skerry.Fold(name)]; n != nil {
		return n.build()
	}
	return nil
}

// Owned is Node without the external records: a node as agents and leases announce it,
// or nil.
func (t *Table) Owned(name string) *skerry.NodeView {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := t.nodes[skerry.Fold(name)]
	if n == nil {
		return nil
	}
	external := slices.IndexFunc(n.owners, func(o *owner) bool { return o.kind == skerry.ExternalOwner })
	switch external { // they are ranked last
	case -1:
		return n.build()
	case 0:
		return nil
	}
	return n.of(n.owners[:external])
}

func (n *node) build() *skerry.NodeView {
	if v := n.view.Load(); v != nil {
		return v
	}
	v := n.of(n.owners)
	if !n.view.CompareAndSwap(nil, v) {
		return n.view.Load()
	}
	return v
}

// of returns the view of the node with only the records of owners.
func (n *node) of(owners []*owner) *skerry.NodeView {
	v := &skerry.NodeView{Node: owners[0].node, Index: n.topic.index}
	if len(owners) == 1 {
		v.Instances, v.Checks = owners[0].records()
	} else {
		v.Instances, v.Checks = merge(owners)
	}
	slices.SortFunc(v.Instances, func(a, b *skerry.Instance) int { return skerry.CompareNames(a.ID, b.ID) })
	slices.SortFunc(v.Checks, func(a, b *skerry.Check) int { return skerry.CompareNames(a.ID, b.ID) })
	return v
}

func (o *owner) records() ([]*skerry.Instance, []*skerry.Check) {
	instances := make([]*skerry.Instance, 0, len(o.items))
	for _, it := range o.items {
		if it.instance != nil {
			instances = append(instances, it.instance)
		}
	}
	checks := make([]*skerry.Check, 0, len(o.checks))
	for _, c := range o.checks {
		checks = append(checks, c)
	}
	return instances, checks
}

func merge(owners []*owner) (instances []*skerry.Instance, checks []*skerry.Check) {
	seen := map[string]bool{}
	seenChecks := map[string]bool{}
	for _, o := range owners {
		is, cs := o.records()
		for _, i := range is {
			if !seen[i.ID] {
				seen[i.ID] = true
				instances = append(instances, i)
			}
		}
		for _, c := range cs {
			if !seenChecks[c.ID] {
				seenChecks[c.ID] = true
				checks = append(checks, c)
			}
		}
	}
	return instances, checks
}

// Nodes implements [skerry.Catalog].
func (t *Table) Nodes() []*skerry.NodeView {
	t.mu.RLock()
	defer t.mu.RUnlock()
	nodes := make([]*skerry.NodeView, 0, len(t.nodes))
	for _, n := range t.nodes {
		nodes = append(nodes, n.build())
	}
	slices.SortFunc(nodes, func(a, b *skerry.NodeView) int { return skerry.CompareNames(a.Node.Name, b.Node.Name) })
	return nodes
}

type nameList struct {
	index uint64
	names []string
}

// Services implements [skerry.Catalog].
func (t *Table) Services() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if l := t.nameList.Load(); l != nil && l.index == t.topics.services.index {
		return l.names
	}
	l := &nameList{index: t.topics.services.index}
	for _, s := range t.services {
		for _, sp := range s.spellings {
			l.names = append(l.names, sp.name)
		}
	}
	slices.Sort(l.names)
	t.nameList.Store(l)
	return l.names
}
