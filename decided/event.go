package decided

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/filter"
)

const (
	eventPrefix = "event/"     // event/<n, in 20 digits>
	eventClock  = "eventclock" // the n of the last event
	// keptEvents is how many user events are remembered, as in Consul.
	keptEvents = 256
	// fireWithin bounds how long an event waits for the store.
	fireWithin = 2 * time.Second
)

func eventKey(n uint64) string { return fmt.Sprintf("%s%020d", eventPrefix, n) }

// Events are the user events that reached one node. They are kept in the store, so
// that all servers have them, also after a restart. An event must be heard
// most of all while something is broken: what the store does not take now is kept
// in memory, and heard on this node alone.
type Events struct {
	kv    skerry.KV
	local skerry.Local
	log   *slog.Logger

	mu      sync.Mutex
	stored  <-chan struct{} // closed when the store has others than were looked at
	seen    uint64          // the store's index of the last stored event that was looked at
	clock   uint64          // the greatest LTime seen
	kept    []skerry.Event  // that concern the node, oldest first
	changed chan struct{}
}

// NewEvents returns the events of the node that local is.
func NewEvents(kv skerry.KV, local skerry.Local, log *slog.Logger) *Events {
	return &Events{kv: kv, local: local, log: log, clock: 1, changed: make(chan struct{})}
}

// Fire spreads an event. It fills in ID, Version and LTime.
func (e *Events) Fire(ctx context.Context, ev skerry.Event) skerry.Event {
	ev.ID, ev.Version = uuid.NewString(), 1
	bounded, cancel := context.WithTimeout(ctx, fireWithin)
	defer cancel()
	err := e.store(bounded, &ev)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.log.Warn("a user event is heard on this node only: the store of decided things did not take it", "event", ev.Name, "error", err)
		e.clock++
		ev.LTime = e.clock
		e.hear(ev)
		return ev
	}
	e.look()
	return ev
}

func (e *Events) store(ctx context.Context, ev *skerry.Event) error {
	_, err := e.kv.Update(ctx, func(tx skerry.Tx) error {
		n := uint64(1)
		if r := tx.Get(eventClock); r != nil && r.Damage != nil {
			n = lastEvent(tx)
		} else if r != nil {
			var err error
			if n, err = strconv.ParseUint(string(r.Value), 10, 64); err != nil {
				return fmt.Errorf("the clock of events is damaged in the store: %w", err)
			}
		}
		n++
		ev.LTime = n
		value, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		tx.Put(eventClock, strconv.AppendUint(nil, n, 10), 0)
		tx.Put(eventKey(n), value, 0)
		if n > keptEvents {
			tx.Delete(eventKey(n - keptEvents))
		}
		return nil
	})
	return err
}

// lastEvent finds the clock of events in the events, and removes those that are damaged.
func lastEvent(tx skerry.Tx) (n uint64) {
	for _, r := range tx.All(eventPrefix) {
		if k, err := strconv.ParseUint(r.Key[len(eventPrefix):], 10, 64); err == nil {
			n = max(n, k)
		}
		if r.Damage != nil {
			tx.Delete(r.Key)
		}
	}
	return max(n, 1)
}

// Run hears what other servers store, until ctx ends.
func (e *Events) Run(ctx context.Context) {
	for {
		e.mu.Lock()
		e.look()
		stored := e.stored
		e.mu.Unlock()
		select {
		case <-stored:
		case <-ctx.Done():
			return
		}
	}
}

// look takes in the stored events that are new. Called with mu held.
func (e *Events) look() {
	select {
	case <-e.stored: // nil at first: never ready
	default:
		if e.stored != nil {
			return
		}
	}
	all := skerry.Below(eventPrefix)
	_, e.stored = e.kv.Watch(all)
	since := e.seen
	for r := range e.kv.Snapshot().All(all, "") {
		if r.Modified <= since {
			continue
		}
		e.seen = max(e.seen, r.Modified)
		var ev skerry.Event
		if err := cmp.Or(r.Damage, json.Unmarshal(r.Value, &ev)); err != nil {
			e.log.Error("a user event is damaged in the store", "key", r.Key, "error", err)
			continue
		}
		e.clock = max(e.clock, ev.LTime)
		e.hear(ev)
	}
}

// hear keeps an event that concerns the node. Called with mu held.
func (e *Events) hear(ev skerry.Event) {
	for i := range e.kept {
		if e.kept[i].ID == ev.ID {
			return // the store took it after all
		}
	}
	if !e.concerns(&ev) {
		return
	}
	e.kept = append(e.kept, ev)
	if len(e.kept) > keptEvents {
		e.kept = e.kept[1:]
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// concerns reports whether the event's filters choose this node. They were
// compiled when the event was taken.
func (e *Events) concerns(ev *skerry.Event) bool {
	matches := func(pattern string) func(string) bool {
		re, err := filter.Regexp(pattern)
		return func(s string) bool { return err == nil && re.MatchString(s) }
	}
	if ev.NodeFilter != "" && !matches(ev.NodeFilter)(e.local.Node().Name) {
		return false
	}
	if ev.ServiceFilter == "" {
		return true
	}
	service, tagged := matches(ev.ServiceFilter), matches(ev.TagFilter)
	for _, i := range e.local.Instances() {
		if !service(i.Service) {
			continue
		}
		if ev.TagFilter == "" {
			return true
		}
		for _, tag := range i.Tags {
			if tagged(tag) {
				return true
			}
		}
	}
	return false
}

// List returns the kept events of this name (all when it is empty) whose names hears
// accepts (nil: all), oldest first, an index made from the last one's ID (0 without
// any), and a channel that is closed at the next.
func (e *Events) List(name string, hears func(name string) bool) ([]skerry.Event, uint64, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.look()
	out := []skerry.Event{}
	for _, ev := range e.kept {
		if (name == "" || ev.Name == name) && (hears == nil || hears(ev.Name)) {
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
	u, err := uuid.Parse(id)
	if err != nil {
		return 1
	}
	return binary.BigEndian.Uint64(u[:8]) ^ binary.BigEndian.Uint64(u[8:])
}
