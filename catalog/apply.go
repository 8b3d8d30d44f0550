package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

func nodeKey(name string) string { return strings.ToLower(name) }

// wholeSet turns a set into the delta that leads to it from the owner's present one.
func wholeSet(o *owner, s *skerry.Set) *skerry.Delta {
	d := &skerry.Delta{Node: s.Node, Instances: s.Instances, Checks: s.Checks}
	keep := make(map[string]bool, len(s.Instances))
	for _, i := range s.Instances {
		keep[i.ID] = true
	}
	for id, it := range o.items {
		if it.instance != nil && !keep[id] {
			d.RemovedInstances = append(d.RemovedInstances, id)
		}
	}
	clear(keep)
	for _, c := range s.Checks {
		keep[c.ID] = true
	}
	for id := range o.checks {
		if !keep[id] {
			d.RemovedChecks = append(d.RemovedChecks, id)
		}
	}
	return d
}

// change collects what one announcement touches, so that each thing is stamped
// and its watchers are woken once.
type change struct {
	t     *Table
	o     *owner
	index uint64 // 0 until something changed
	// wholeNode: every service of the node is touched
	wholeNode bool
}

func (c *change) stamp() uint64 {
	if c.index == 0 {
		c.index = c.t.next()
		c.t.touch(c.index, &c.t.topics.all)
	}
	return c.index
}

// apply changes the owner's set by d and reports whether anything that watchers
// wait for is different. Called with mu held.
func (t *Table) apply(o *owner, d *skerry.Delta) bool {
	c := &change{t: t, o: o}
	if d.Node != nil {
		c.setNode(d.Node)
	}
	for _, id := range d.RemovedChecks {
		c.removeCheck(id)
	}
	for _, id := range d.RemovedInstances {
		c.removeInstance(id)
	}
	for _, i := range d.Instances {
		c.setInstance(i)
	}
	for _, k := range d.Checks {
		c.setCheck(k)
	}
	if c.wholeNode {
		c.touchServices()
	}
	return c.index != 0
}

func (c *change) setNode(n *skerry.Node) {
	t, o := c.t, c.o
	old := o.node
	if old != nil && sameNode(old, n) {
		return
	}
	n.Stamp = skerry.Stamp{Created: c.stamp(), Modified: c.index}
	if old != nil && nodeKey(old.Name) == nodeKey(n.Name) {
		n.Created = old.Created
		o.node = n
		c.touchNode()
		t.touch(c.index, &t.topics.nodes)
		c.wholeNode = true
		return
	}
	// A set moves to a node of another name: its instances leave and come back.
	var moved []*item
	if old != nil {
		for _, it := range o.items {
			if it.instance != nil {
				moved = append(moved, it)
				c.unlist(it)
			}
		}
		t.leaveNode(o)
	}
	o.node = n
	t.joinNode(o, c.index)
	for _, it := range moved {
		c.list(it)
	}
	c.wholeNode = true
}

// joinNode puts the owner among those of its node's name.
func (t *Table) joinNode(o *owner, index uint64) {
	key := nodeKey(o.node.Name)
	n := t.nodes[key]
	if n == nil {
		n = &node{key: key}
		n.topic.index = index
		t.nodes[key] = n
		t.touch(index, t.topics.absentOf("node/"+key))
	} else if len(n.owners) > 0 {
		// The node itself is not new: its other owners have announced it before.
		o.node.Created = min(o.node.Created, n.record().Created)
	}
	i, _ := slices.BinarySearchFunc(n.owners, o, func(a, b *owner) int {
		if a.outranks(b) {
			return -1
		}
		return 1
	})
	n.owners = slices.Insert(n.owners, i, o)
	o.at = n
	n.view.Store(nil)
	t.touch(index, &n.topic, &t.topics.nodes)
}

func (t *Table) leaveNode(o *owner) {
	n := o.at
	if n == nil {
		return
	}
	o.at = nil
	n.owners = slices.DeleteFunc(n.owners, func(p *owner) bool { return p == o })
	n.view.Store(nil)
	index := t.next()
	t.touch(index, &n.topic, &t.topics.nodes, &t.topics.all)
	if len(n.owners) == 0 {
		delete(t.nodes, n.key)
		t.retire(index, &n.topic, t.topics.absentOf("node/"+n.key))
		return
	}
	c := &change{t: t, o: n.owners[0], index: index}
	c.touchServices()
}

func (c *change) touchNode() {
	c.o.at.view.Store(nil)
	c.t.touch(c.stamp(), &c.o.at.topic)
}

// touchServices marks every service on the owner's node as changed.
func (c *change) touchServices() {
	for _, o := range c.o.at.owners {
		for _, it := range o.items {
			if it.instance != nil {
				c.touchService(it.instance.Service)
			}
		}
	}
}

func (c *change) touchService(name string) {
	if s := c.t.service(name); s != nil {
		s.view.Store(nil)
		c.t.touch(c.stamp(), &s.topic)
	}
}

func (c *change) item(id string) *item {
	it := c.o.items[id]
	if it == nil {
		it = &item{owner: c.o, id: id}
		c.o.items[id] = it
	}
	return it
}

func (c *change) drop(it *item) {
	if it.instance == nil && len(it.checks) == 0 {
		delete(c.o.items, it.id)
	}
}

func (c *change) setInstance(i *skerry.Instance) {
	it := c.item(i.ID)
	old := it.instance
	if old != nil && sameInstance(old, i) {
		return
	}
	i.Stamp = skerry.Stamp{Created: c.stamp(), Modified: c.index}
	if old != nil {
		i.Created = old.Created
	}
	if old != nil && old.Service == i.Service {
		it.instance = i
		c.touchService(i.Service)
		if !slices.Equal(old.Tags, i.Tags) {
			c.t.touch(c.index, &c.t.topics.services)
		}
	} else {
		if old != nil {
			c.unlist(it)
		}
		it.instance = i
		c.list(it)
	}
	c.touchNode()
}

func (c *change) removeInstance(id string) {
	it := c.o.items[id]
	if it == nil || it.instance == nil {
		return
	}
	c.stamp()
	c.unlist(it)
	it.instance = nil
	c.drop(it)
	c.touchNode()
}

func (c *change) setCheck(k *skerry.Check) {
	old := c.o.checks[k.ID]
	if old != nil && sameCheck(old, k) {
		if old.Output != k.Output || !old.Since.Equal(k.Since) {
			// Readers see the new output; it wakes nobody.
			k.Stamp = old.Stamp
			c.storeCheck(k)
			c.forget(k.ServiceID)
		}
		return
	}
	k.Stamp = skerry.Stamp{Created: c.stamp(), Modified: c.index}
	if old != nil {
		k.Created = old.Created
		if old.ServiceID != k.ServiceID {
			c.removeCheck(k.ID)
		}
	}
	c.storeCheck(k)
	c.touchChecked(k.ServiceID)
}

func (c *change) storeCheck(k *skerry.Check) {
	c.o.checks[k.ID] = k
	it := c.item(k.ServiceID)
	at, found := slices.BinarySearchFunc(it.checks, k.ID, func(a *skerry.Check, id string) int { return cmp.Compare(a.ID, id) })
	// Views hold the old slice: replace it, never write into it.
	checks := make([]*skerry.Check, 0, len(it.checks)+1)
	checks = append(append(checks, it.checks[:at]...), k)
	if found {
		at++
	}
	it.checks = append(checks, it.checks[at:]...)
}

func (c *change) removeCheck(id string) {
	k := c.o.checks[id]
	if k == nil {
		return
	}
	c.stamp()
	delete(c.o.checks, id)
	it := c.item(k.ServiceID)
	checks := make([]*skerry.Check, 0, len(it.checks)-1)
	for _, have := range it.checks {
		if have != k {
			checks = append(checks, have)
		}
	}
	it.checks = checks
	c.touchChecked(k.ServiceID)
	c.drop(it)
}

// touchChecked marks what a check of this service ID (or of the node) judges.
func (c *change) touchChecked(serviceID string) {
	c.t.touch(c.stamp(), &c.t.topics.checks)
	c.touchNode()
	if serviceID == "" {
		c.wholeNode = true
		return
	}
	for _, o := range c.o.at.owners {
		if it := o.items[serviceID]; it != nil && it.instance != nil {
			c.touchService(it.instance.Service)
		}
	}
}

// forget drops the views that show a check's output, without waking anybody.
func (c *change) forget(serviceID string) {
	c.o.at.view.Store(nil)
	for _, o := range c.o.at.owners {
		for id, it := range o.itemsOf(serviceID) {
			if it.instance != nil && (serviceID == "" || id == serviceID) {
				if s := c.t.service(it.instance.Service); s != nil {
					s.view.Store(nil)
				}
			}
		}
	}
}

// itemsOf returns the items that a check of serviceID judges: one, or all.
func (o *owner) itemsOf(serviceID string) map[string]*item {
	if serviceID == "" {
		return o.items
	}
	if it := o.items[serviceID]; it != nil {
		return map[string]*item{serviceID: it}
	}
	return nil
}
