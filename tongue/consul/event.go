package consul

import (
	"fmt"
	"strconv"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/filter"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

const maxPayload = 300 // bytes, as in Consul: larger ones would not fit its gossip

func (q *request) eventFire() error {
	if q.rest == "" {
		return badRequest("Missing name")
	}
	e := skerry.Event{Name: q.rest, NodeFilter: q.p.get("node"), ServiceFilter: q.p.get("service"), TagFilter: q.p.get("tag")}
	if !q.may(skerry.ResourceEvent, e.Name, skerry.AccessWrite) {
		return status(403, "Permission denied")
	}
	payload, err := wire.ReadAll(q.r.Body, q.r.ContentLength)
	if err != nil {
		return wire.DecodeError(err)
	}
	if len(payload) > 0 {
		e.Payload = payload
	}
	if err := checkEventFilters(&e); err != nil {
		return err
	}
	if len(payload) > maxPayload {
		return status(413, fmt.Sprintf("Event payload too large, received %d bytes, max size: %d bytes. User events should be kept small for efficient gossip propagation.", len(payload), maxPayload))
	}
	return q.json(jsonEvent(q.f.b.Events.Fire(q.r.Context(), e), false))
}

func checkEventFilters(e *skerry.Event) error {
	if e.TagFilter != "" && e.ServiceFilter == "" {
		return serverError("Cannot provide tag filter without service filter")
	}
	for _, f := range []struct{ name, pattern string }{
		{"node", e.NodeFilter}, {"service", e.ServiceFilter}, {"tag", e.TagFilter},
	} {
		if _, err := filter.Regexp(f.pattern); err != nil {
			return serverError(fmt.Sprintf("Invalid %s filter: %v", f.name, err))
		}
	}
	return nil
}

type eventJSON struct {
	ID            string
	Name          string
	Payload       []byte
	NodeFilter    string
	ServiceFilter string
	TagFilter     string
	Version       int
	LTime         uint64
}

func jsonEvent(e skerry.Event, received bool) eventJSON {
	out := eventJSON(e)
	if !received {
		out.LTime = 0 // not known before it has spread
	}
	return out
}

// hears returns a function that reports whether the caller may see an event; nil: all.
func (q *request) hears() func(name string) bool {
	if !q.hides() {
		return nil
	}
	who := q.who
	return func(name string) bool { return who.Allows(skerry.ResourceEvent, name, skerry.AccessRead) }
}

func (q *request) eventList() error {
	if err := q.p.query(); err != nil {
		return err
	}
	name := q.p.get("name")
	var events []skerry.Event
	var index uint64
	err := q.await(func() (bool, <-chan struct{}) {
		var changed <-chan struct{}
		events, index, changed = q.f.b.Events.List(name, q.hears())
		index = max(index, 1)
		return q.p.index == 0 || index != q.p.index, changed
	}, nil)
	if err != nil {
		return err
	}
	events = visible(q, events, func(e skerry.Event) bool { return q.may(skerry.ResourceEvent, e.Name, skerry.AccessRead) })
	out := make([]eventJSON, len(events))
	for i, e := range events {
		out[i] = jsonEvent(e, true)
	}
	q.w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	return q.json(out)
}
