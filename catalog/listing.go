package catalog

import (
	"cmp"
	"slices"

	"github.com/skerryhq/skerry"
)

// service returns a service, or nil. Called with mu held.
func (t *Table) service(name string) *service { return t.services[skerry.Fold(name)] }

func compareItems(a, b *item) int {
	if c := cmp.Compare(a.owner.at.key, b.owner.at.key); c != 0 {
		return c
	}
	return skerry.CompareNames(a.instance.ID, b.instance.ID)
}

// relist lists the winning record of this ID on the node under its service, and
// unlists the others.
func (c *change) relist(n *node, id string) {
	var winner *item
	for _, o := range n.owners {
		it := o.items[id]
		switch {
		case it == nil || it.instance == nil:
		case winner == nil:
			winner = it
		case it.listed:
			c.unlist(it)
		}
	}
	if winner != nil && !winner.listed {
		c.list(winner)
	}
}

// list adds an item to the instances of its service.
func (c *change) list(it *item) {
	t, name := c.t, skerry.Fold(it.instance.Service)
	index := c.stamp()
	s := t.services[name]
	if s == nil {
		s = &service{}
		t.services[name] = s
		t.departed.returned(name)
		t.touch(index, t.topics.absentOf(name), &t.topics.services)
	} else if !s.uses(it.instance) {
		t.touch(index, &t.topics.services)
	}
	at, _ := slices.BinarySearchFunc(s.items, it, compareItems)
	s.items = slices.Insert(s.items, at, it)
	s.count(it.instance, 1)
	it.listed = true
	s.view.Store(nil)
	t.touch(index, &s.topic)
}

// unlist removes an item from the instances of its service. It must still be on its
// node.
func (c *change) unlist(it *item) {
	t, name := c.t, skerry.Fold(it.instance.Service)
	index := c.stamp()
	s := t.services[name]
	at, _ := slices.BinarySearchFunc(s.items, it, compareItems)
	s.items = slices.Delete(s.items, at, at+1)
	s.count(it.instance, -1)
	it.listed = false
	t.departed.leave(name, skerry.Left{Entry: it.entry(), Cause: c.cause}, t.cfg.Now())
	s.view.Store(nil)
	if len(s.items) == 0 {
		delete(t.services, name)
		t.warm.Delete(name)
		t.departed.left(name, c.cause, t.cfg.Now())
		t.touch(index, &t.topics.services)
		t.retire(index, &s.topic, t.topics.absentOf(name))
		return
	}
	t.touch(index, &s.topic)
	if !s.uses(it.instance) {
		t.touch(index, &t.topics.services)
	}
}

// entry returns a departing item on its node, without its checks.
func (it *item) entry() *skerry.Entry {
	return &skerry.Entry{Node: it.owner.at.record(), Instance: it.instance, Owner: it.owner.id, Health: skerry.Passing}
}

// replace puts a new record of a listed item in place, of a service of the same spelling.
func (c *change) replace(it *item, i *skerry.Instance) {
	s := c.t.service(i.Service)
	old := it.instance
	added := !s.uses(i)
	s.count(i, 1)
	s.count(old, -1)
	c.t.departed.leave(skerry.Fold(old.Service), skerry.Left{Entry: it.entry(), Cause: c.cause}, c.t.cfg.Now())
	it.instance = i
	s.view.Store(nil)
	c.t.touch(c.stamp(), &s.topic)
	if added || !s.uses(old) {
		c.t.touch(c.index, &c.t.topics.services)
	}
}

// fewItems is the largest number of items that are searched for a tag.
const fewItems = 16

// uses reports whether some instance has the spelling of i, and some each of its tags.
func (s *service) uses(i *skerry.Instance) bool {
	if s.spelled(i.Service) < 0 {
		return false
	}
next:
	for _, tag := range i.Tags {
		if s.tags != nil {
			if s.tags[use{i.Service, tag}] == 0 {
				return false
			}
			continue
		}
		for _, it := range s.items {
			if it.instance.Service == i.Service && slices.Contains(it.instance.Tags, tag) {
				continue next
			}
		}
		return false
	}
	return true
}

// spelled returns the index of a spelling, or -1.
func (s *service) spelled(name string) int {
	return slices.IndexFunc(s.spellings, func(sp spelling) bool { return sp.name == name })
}

// count updates the spellings and tags in use. It is called after the items have changed.
func (s *service) count(i *skerry.Instance, n int) {
	at := s.spelled(i.Service)
	if at < 0 {
		at = len(s.spellings)
		s.spellings = append(s.spellings, spelling{name: i.Service})
	}
	if s.spellings[at].count += n; s.spellings[at].count == 0 {
		s.spellings = slices.Delete(s.spellings, at, at+1)
	}
	if s.tags == nil {
		if len(s.items) > fewItems {
			s.tags = map[use]int{}
			for _, it := range s.items {
				for _, tag := range it.instance.Tags {
					s.tags[use{it.instance.Service, tag}]++
				}
			}
		}
		return
	}
	for _, tag := range i.Tags {
		u := use{i.Service, tag}
		if s.tags[u] += n; s.tags[u] == 0 {
			delete(s.tags, u)
		}
	}
}
