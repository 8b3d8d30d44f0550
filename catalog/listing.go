package catalog

import (
	"cmp"
	"slices"
)

func (t *Table) service(name string) *service {
	if s, ok := t.services.Load(name); ok {
		return s.(*service)
	}
	return nil
}

func compareItems(a, b *item) int {
	if c := cmp.Compare(a.owner.at.key, b.owner.at.key); c != 0 {
		return c
	}
	if c := cmp.Compare(a.id, b.id); c != 0 {
		return c
	}
	switch {
	case a.owner == b.owner:
		return 0
	case a.owner.outranks(b.owner):
		return -1
	}
	return 1
}

// list puts an item among the instances of its service.
func (c *change) list(it *item) {
	t, name := c.t, it.instance.Service
	index := c.stamp()
	s := t.service(name)
	if s == nil {
		s = &service{name: name}
		t.services.Store(name, s)
		t.departed.returned(name)
		t.touch(index, t.topics.absentOf(name), &t.topics.services)
	} else if !s.uses(it.instance.Tags) {
		t.touch(index, &t.topics.services)
	}
	at, _ := slices.BinarySearchFunc(s.items, it, compareItems)
	s.items = slices.Insert(s.items, at, it)
	s.view.Store(nil)
	t.touch(index, &s.topic)
}

// unlist takes an item from the instances of its service. It must still be on
// its node.
func (c *change) unlist(it *item) {
	t, name := c.t, it.instance.Service
	index := c.stamp()
	s := t.service(name)
	at, found := slices.BinarySearchFunc(s.items, it, compareItems)
	if !found {
		return
	}
	s.items = slices.Delete(s.items, at, at+1)
	s.view.Store(nil)
	if len(s.items) == 0 {
		t.services.Delete(name)
		t.departed.left(name, t.cfg.Now())
		t.touch(index, &t.topics.services)
		t.retire(index, &s.topic, t.topics.absentOf(name))
		return
	}
	t.touch(index, &s.topic)
	if !s.uses(it.instance.Tags) {
		t.touch(index, &t.topics.services)
	}
}

// uses reports whether every tag is on some instance.
func (s *service) uses(tags []string) bool {
next:
	for _, tag := range tags {
		for _, it := range s.items {
			if slices.Contains(it.instance.Tags, tag) {
				continue next
			}
		}
		return false
	}
	return true
}
