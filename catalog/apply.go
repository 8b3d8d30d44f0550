package catalog

import (
	"slices"

	"github.com/skerryhq/skerry"
)

// wholeSet returns the delta from the owner's present set to s.
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

// change is one announcement being applied: each touched record is stamped and
// its watchers are woken once.
type change struct {
	t     *Table
	o     *owner
	index uint64 // 0 until something changed
	// wholeNode is whether every service of the node is touched.
	wholeNode bool
	cause     skerry.Cause // why instances leave
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
	c := &change{t: t, o: o, cause: skerry.CauseDeregistered}
	c.run(d)
	return c.index != 0
}

// keeps reports whether a record keeps its stamp. Records of external owners have
// the store's, which is the same on all servers.
func (c *change) keeps(s skerry.Stamp) bool {
	return c.o.kind == skerry.ExternalOwner && s.Modified != 0
}

// own returns a record that may be stamped. An announced record is copied, since
// older views still refer to it.
func own[T any](c *change, record *T, s skerry.Stamp) *T {
	if s.Created == 0 || c.keeps(s) {
		return record
	}
	again := *record
	return &again
}

// stamped returns the stamp of a new or changed record. created is the index of its
// creation, 0 for a new one.
func (c *change) stamped(given skerry.Stamp, created uint64) skerry.Stamp {
	index := c.stamp()
	if c.keeps(given) {
		return given
	}
	if created == 0 {
		created = index
	}
	return skerry.Stamp{Created: created, Modified: index}
}

// restamped reports whether an otherwise equal record has another stamp.
func (c *change) restamped(old, s skerry.Stamp) bool { return c.keeps(s) && old != s }

func (c *change) run(d *skerry.Delta) {
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
}

func (c *change) setNode(n *skerry.Node) {
	t, o := c.t, c.o
	old := o.node
	if old != nil && sameNode(old, n) && !c.restamped(old.Stamp, n.Stamp) {
		return
	}
	n = own(c, n, n.Stamp)
	created := uint64(0)
	if old != nil && skerry.Fold(old.Name) == skerry.Fold(n.Name) {
		created = old.Created
	}
	n.Stamp = c.stamped(n.Stamp, created)
	switch {
	case old == nil:
		o.node = n
		c.joinNode()
	case created != 0:
		o.node = n
		if o.at.owners[0] == o { // else another owner's record hides it
			c.touchNode()
			t.touch(c.index, &t.topics.nodes)
			c.wholeNode = true
		}
	default:
		c.moveTo(n)
	}
}

// moveTo moves the owner's set to a node of another name: its instances are removed
// and listed again.
func (c *change) moveTo(n *skerry.Node) {
	o, from := c.o, c.o.at
	var ids []string
	for id, it := range o.items {
		if it.instance == nil {
			continue
		}
		ids = append(ids, id)
		if it.listed {
			c.unlist(it)
		}
	}
	c.leaveNode()
	for _, id := range ids {
		c.relist(from, id)
	}
	o.node = n
	c.joinNode()
	for _, id := range ids {
		c.relist(o.at, id)
	}
	if len(o.checks) > 0 {
		c.t.touch(c.index, &c.t.topics.checks)
		c.wholeNode = true // its checks may judge others' instances
	}
}

// joinNode adds the owner to the node of its name.
func (c *change) joinNode() {
	t, o, index := c.t, c.o, c.stamp()
	key := skerry.Fold(o.node.Name)
	n := t.nodes[key]
	if n == nil {
		n = &node{key: key}
		t.nodes[key] = n
		t.touch(index, t.topics.absentOf("node/"+key))
	} else {
		// The node itself is not new: its other owners have announced it before.
		if other := n.record(); !c.keeps(o.node.Stamp) && n.owners[0].kind != skerry.ExternalOwner {
			o.node.Created = min(o.node.Created, other.Created)
		}
	}
	at, _ := slices.BinarySearchFunc(n.owners, o, func(a, b *owner) int {
		if a.outranks(b) {
			return -1
		}
		return 1
	})
	n.owners = slices.Insert(n.owners, at, o)
	o.at = n
	c.touchNode()
	if at == 0 { // its record is the node's from now on
		t.touch(index, &t.topics.nodes)
		c.wholeNode = c.wholeNode || len(n.owners) > 1
	}
}

// leaveNode removes the owner from its node. Its instances must not be listed.
func (c *change) leaveNode() {
	t, o, index := c.t, c.o, c.stamp()
	n := o.at
	first := n.owners[0] == o
	c.touchNode()
	o.at = nil
	n.owners = slices.DeleteFunc(n.owners, func(p *owner) bool { return p == o })
	if first {
		t.touch(index, &t.topics.nodes)
	}
	if len(n.owners) == 0 {
		delete(t.nodes, n.key)
		t.retire(index, &n.topic, t.topics.absentOf("node/"+n.key))
		return
	}
	if first || len(o.checks) > 0 {
		t.touchServicesOf(n, index)
	}
}

func (c *change) touchNode() {
	c.o.at.view.Store(nil)
	c.t.touch(c.stamp(), &c.o.at.topic)
}

// touchServices marks every service on the owner's node as changed.
func (c *change) touchServices() { c.t.touchServicesOf(c.o.at, c.stamp()) }

func (t *Table) touchServicesOf(n *node, index uint64) {
	for _, o := range n.owners {
		for _, it := range o.items {
			if it.listed {
				t.touchService(it.instance.Service, index)
			}
		}
	}
}

func (t *Table) touchService(name string, index uint64) {
	if s := t.service(name); s != nil {
		s.view.Store(nil)
		t.touch(index, &s.topic)
	}
}

func (c *change) item(id string) *item {
	it := c.o.items[id]
	if it == nil {
		it = &item{owner: c.o}
		c.o.items[id] = it
	}
	return it
}

func (c *change) drop(id string, it *item) {
	if it.instance == nil && len(it.checks) == 0 {
		delete(c.o.items, id)
	}
}

func (c *change) setInstance(i *skerry.Instance) {
	it := c.item(i.ID)
	old := it.instance
	created := uint64(0)
	if old != nil {
		if sameInstance(old, i) && !c.restamped(old.Stamp, i.Stamp) {
			return
		}
		created = old.Created
	}
	i = own(c, i, i.Stamp)
	i.Stamp = c.stamped(i.Stamp, created)
	if it.listed && old.Service == i.Service {
		c.replace(it, i)
	} else {
		if it.listed {
			c.unlist(it)
		}
		it.instance = i
		c.relist(c.o.at, i.ID)
	}
	c.touchNode()
}

func (c *change) removeInstance(id string) {
	it := c.o.items[id]
	if it == nil || it.instance == nil {
		return
	}
	c.touchNode()
	if it.listed {
		c.unlist(it)
	}
	it.instance = nil
	c.drop(id, it)
	c.relist(c.o.at, id)
}

func (c *change) setCheck(k *skerry.Check) {
	k = own(c, k, k.Stamp)
	old := c.o.checks[k.ID]
	if old != nil && sameCheck(old, k) && !c.restamped(old.Stamp, k.Stamp) {
		if old.Output != k.Output || !old.Since.Equal(k.Since) {
			// Readers see the new output soon; it wakes no watcher.
			k.Stamp = old.Stamp
			c.storeCheck(k)
			c.outdate(k.ServiceID)
		}
		return
	}
	created := uint64(0)
	if old != nil {
		created = old.Created
	}
	k.Stamp = c.stamped(k.Stamp, created)
	if old != nil && old.ServiceID != k.ServiceID {
		c.removeCheck(k.ID)
	}
	c.storeCheck(k)
	c.touchChecked(k)
}

func (c *change) storeCheck(k *skerry.Check) {
	c.o.checks[k.ID] = k
	it := c.item(k.ServiceID)
	at, found := slices.BinarySearchFunc(it.checks, k.ID, compareCheckID)
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
	c.touchChecked(k)
	c.drop(k.ServiceID, it)
}

// touchChecked marks the services that a check judges, and those that another owner's
// check of the same ID judges: one of the two checks hides the other.
func (c *change) touchChecked(k *skerry.Check) {
	c.t.touch(c.stamp(), &c.t.topics.checks)
	c.touchNode()
	c.touchJudged(k.ServiceID)
	for _, o := range c.o.at.owners {
		if other := o.checks[k.ID]; o != c.o && other != nil && other.ServiceID != k.ServiceID {
			c.touchJudged(other.ServiceID)
		}
	}
}

// touchJudged marks the services that checks of this service ID (or of the node) judge.
func (c *change) touchJudged(serviceID string) {
	if serviceID == "" {
		c.wholeNode = true
		return
	}
	for _, o := range c.o.at.owners {
		if it := o.items[serviceID]; it != nil && it.listed {
			c.t.touchService(it.instance.Service, c.index)
		}
	}
}
