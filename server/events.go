package server

import (
	"encoding/binary"
	"regexp"
	"sync"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul"
)

// keptEvents is how many user events are remembered, as in Consul.
const keptEvents = 256

// events are the user events of one node.
type events struct {
	local skerry.Local

	mu      sync.Mutex
	kept    []consul.Event
	clock   uint64
	changed chan struct{}
}

func newEvents(local skerry.Local) *events {
	return &events{local: local, clock: 1, changed: make(chan struct{})}
}

// Fire implements [consul.Events].
func (e *events) Fire(ev consul.Event) consul.Event {
	ev.ID, ev.Version = uuid.NewString(), 1
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock++
	ev.LTime = e.clock
	if !e.concerns(&ev) {
		return ev
	}
	e.kept = append(e.kept, ev)
	if len(e.kept) > keptEvents {
		e.kept = e.kept[1:]
	}
	close(e.changed)
	e.changed = make(chan struct{})
	return ev
}

// concerns reports whether the event's filters choose this node. They were
// compiled when the event was taken.
func (e *events) concerns(ev *consul.Event) bool {
	matches := func(pattern, s string) bool {
		re, err := regexp.Compile(pattern)
		return err == nil && re.MatchString(s)
	}
	if ev.NodeFilter != "" && !matches(ev.NodeFilter, e.local.Node().Name) {
		return false
	}
	if ev.ServiceFilter == "" {
		return true
	}
	for _, i := range e.local.Instances() {
		if !matches(ev.ServiceFilter, i.Service) {
			continue
		}
		if ev.TagFilter == "" {
			return true
		}
		for _, tag := range i.Tags {
			if matches(ev.TagFilter, tag) {
				return true
			}
		}
	}
	return false
}

// List implements [consul.Events].
func (e *events) List(name string) ([]consul.Event, uint64, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []consul.Event{}
	for _, ev := range e.kept {
		if name == "" || ev.Name == name {
			out = append(out, ev)
		}
	}
	var index uint64
	if len(out) > 0 {
		index = eventIndex(out[len(out)-1].ID)
	}
	return out, index, e.changed
}

// eventIndex folds an event's ID into an index: the two halves of the UUID, as
// clients of Consul work it out themselves from the ID. It has no order.
func eventIndex(id string) uint64 {
	u := uuid.MustParse(id)
	return binary.BigEndian.Uint64(u[:8]) ^ binary.BigEndian.Uint64(u[8:])
}
