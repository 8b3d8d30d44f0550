package catalog

import (
	"hash/maphash"

	"github.com/skerryhq/skerry"
)

// topic is an object that can be watched. Its channel exists only while it has
// waiters; closing it wakes all of them.
type topic struct {
	index   uint64
	waiting chan struct{}
	due     bool // among the topics that the next flush wakes
}

// absentTopics is the number of topics shared by all names without a service, so
// that requests for made-up names cost nothing. A service that appears or disappears
// wakes its bucket.
const absentTopics = 256

type topics struct {
	all, nodes, services, checks topic
	absent                       [absentTopics]topic
	seed                         maphash.Seed

	due       []*topic
	scheduled bool
}

func newTopics(first uint64) topics {
	ts := topics{seed: maphash.MakeSeed()}
	for _, t := range []*topic{&ts.all, &ts.nodes, &ts.services, &ts.checks} {
		t.index = first
	}
	for i := range ts.absent {
		ts.absent[i].index = first
	}
	return ts
}

func (ts *topics) absentOf(name string) *topic {
	return &ts.absent[maphash.String(ts.seed, name)%absentTopics]
}

// touch marks topics as changed at index; the next flush wakes their waiters.
func (t *Table) touch(index uint64, changed ...*topic) {
	for _, tp := range changed {
		tp.index = index
		if tp.waiting != nil && !tp.due {
			tp.due = true
			t.topics.due = append(t.topics.due, tp)
		}
	}
	if len(t.topics.due) > 0 && !t.topics.scheduled {
		t.topics.scheduled = true
		t.cfg.After(t.cfg.Coalesce, t.flush)
	}
}

func (t *Table) flush() {
	t.mu.Lock()
	var woken []chan struct{}
	for _, tp := range t.topics.due {
		woken = append(woken, tp.waiting)
		tp.waiting, tp.due = nil, false
	}
	clear(t.topics.due) // some belong to removed services and nodes
	t.topics.due, t.topics.scheduled = t.topics.due[:0], false
	t.mu.Unlock()
	for _, ch := range woken {
		close(ch)
	}
}

// Watch implements [skerry.Catalog].
func (t *Table) Watch(want skerry.Topic) (uint64, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topicOf(want)
	if tp.waiting == nil {
		tp.waiting = make(chan struct{})
	}
	return tp.index, tp.waiting
}

func (t *Table) topicOf(want skerry.Topic) *topic {
	switch want.Kind {
	case skerry.TopicService:
		if s := t.service(want.Name); s != nil {
			return &s.topic
		}
		return t.topics.absentOf(skerry.Fold(want.Name))
	case skerry.TopicNode:
		if n := t.nodes[skerry.Fold(want.Name)]; n != nil {
			return &n.topic
		}
		return t.topics.absentOf("node/" + skerry.Fold(want.Name))
	case skerry.TopicNodes:
		return &t.topics.nodes
	case skerry.TopicServices:
		return &t.topics.services
	case skerry.TopicChecks:
		return &t.topics.checks
	}
	return &t.topics.all
}

// retire wakes the watchers of a removed object and those of its absence.
func (t *Table) retire(index uint64, gone, absent *topic) {
	t.touch(index, gone, absent)
}
