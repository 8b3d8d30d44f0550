package catalog

// outputs are the views that show an old output of some check. They are dropped
// together now and then: a probe may print something new each time it runs, and each
// new view has to be built and encoded again.
type outputs struct {
	services  []*service
	nodes     []*node
	scheduled bool
}

// outdate notes that a check of this service ID (or of the node) has a new output.
// It wakes no watcher.
func (c *change) outdate(serviceID string) {
	t, n := c.t, c.o.at
	if n.view.Load() != nil && !n.old {
		n.old = true
		t.outputs.nodes = append(t.outputs.nodes, n)
	}
	for _, o := range n.owners {
		if serviceID != "" {
			t.outdateItem(o.items[serviceID])
			continue
		}
		for _, it := range o.items {
			t.outdateItem(it)
		}
	}
	if len(t.outputs.services)+len(t.outputs.nodes) > 0 && !t.outputs.scheduled {
		t.outputs.scheduled = true
		t.cfg.After(t.cfg.OutputEvery, t.refresh)
	}
}

func (t *Table) outdateItem(it *item) {
	if it == nil || !it.listed {
		return
	}
	if s := t.service(it.instance.Service); s.view.Load() != nil && !s.old {
		s.old = true
		t.outputs.services = append(t.outputs.services, s)
	}
}

// refresh drops the outdated views.
func (t *Table) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.outputs.services {
		s.old = false
		s.view.Store(nil)
	}
	for _, n := range t.outputs.nodes {
		n.old = false
		n.view.Store(nil)
	}
	t.outputs = outputs{}
}
