// Package event keeps user events. They are in the quorum store, so that all servers
// have them, also after a restart.
package event

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
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/filter"
)

const (
	// remembered is the number of user events that are kept, as in Consul.
	remembered = 256
	// fireWithin is the longest time that an event waits for the store.
	fireWithin = 2 * time.Second
)

func key(n uint64) string { return fmt.Sprintf("%s%020d", record.Events, n) }

// Options configure a [Log].
type Options struct {
	KV    skerry.KV
	Local skerry.Local // the node that hears the events
	Log   *slog.Logger // default: discard
}

// Log has the user events that reached one node. An event must be heard most of all
// while something is broken: one that the store does not take now is kept in memory,
// and heard on this node alone.
type Log struct {
	kv    skerry.KV
	local skerry.Local
	log   *slog.Logger

	mu      sync.Mutex
	stored  <-chan struct{} // closed when the store has other events than were looked at
	seen    uint64          // the store's index of the last stored event that was looked at
	clock   uint64          // the greatest LTime seen
	kept    []skerry.Event  // those that concern the node, oldest first
	changed chan struct{}
}

// New returns the events of a node.
func New(o Options) *Log {
	return &Log{kv: o.KV, local: o.Local, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), clock: 1, changed: make(chan struct{})}
}

// Fire spreads an event. It fills in ID, Version and LTime.
func (e *Log) Fire(ctx context.Context, ev skerry.Event) skerry.Event {
	ev.ID, ev.Version = once.ID(ctx), 1
	bounded, cancel := context.WithTimeout(ctx, fireWithin)
	defer cancel()
	err := e.store(bounded, &ev)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.log.Warn("a user event is heard on this node only: the quorum store did not take it", "event", ev.Name, "error", err)
		e.clock++
		ev.LTime = e.clock
		e.hear(ev)
		return ev
	}
	e.look()
	return ev
}

func (e *Log) store(ctx context.Context, ev *skerry.Event) error {
	_, err := once.Update(ctx, e.kv, &ev.LTime, func(tx skerry.Tx) error {
		n := uint64(1)
		if r := tx.Get(record.EventClock); r != nil && r.Damage != nil {
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
		tx.Put(record.EventClock, strconv.AppendUint(nil, n, 10), 0)
		tx.Put(key(n), value, 0)
		if n > remembered {
			tx.Delete(key(n - remembered))
		}
		return nil
	})
	return err
}

// lastEvent returns the number of the last stored event, or 1. It removes the damaged
// events.
func lastEvent(tx skerry.Tx) (n uint64) {
	for _, r := range tx.All(record.Events) {
		if k, err := strconv.ParseUint(r.Key[len(record.Events):], 10, 64); err == nil {
			n = max(n, k)
		}
		if r.Damage != nil {
			tx.Delete(r.Key)
		}
	}
	return max(n, 1)
}

// Run hears the events that other servers store, until ctx ends.
func (e *Log) Run(ctx context.Context) {
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

// look takes in the stored events that are new. It is called with mu held.
func (e *Log) look() {
	select {
	case <-e.stored: // nil at first: never ready
	default:
		if e.stored != nil {
			return
		}
	}
	all := skerry.Below(record.Events)
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

// hear keeps an event that concerns the node. It is called with mu held.
func (e *Log) hear(ev skerry.Event) {
	for i := range e.kept {
		if e.kept[i].ID == ev.ID {
			return // the store took it after all
		}
	}
	if !e.concerns(&ev) {
		return
	}
	e.kept = append(e.kept, ev)
	if len(e.kept) > remembered {
		e.kept = e.kept[1:]
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

// concerns reports whether the event's filters choose this node. A filter that does not
// compile chooses none.
func (e *Log) concerns(ev *skerry.Event) bool {
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

// List returns the kept events of a name, oldest first, an index made from the last
// one's ID, and a channel that is closed at the next event. An empty name stands for
// all. Events whose name hears does not accept are left out; a nil hears accepts all.
// Without any event the index is 0.
func (e *Log) List(name string, hears func(name string) bool) ([]skerry.Event, uint64, <-chan struct{}) {
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
		index = indexOf(out[len(out)-1].ID)
	}
	return out, index, e.changed
}

// indexOf folds an event's ID into an index: the two halves of the UUID, as
// clients of Consul compute it from the ID. Indexes have no order.
func indexOf(id string) uint64 {
	u, err := uuid.Parse(id)
	if err != nil {
		return 1
	}
	return binary.BigEndian.Uint64(u[:8]) ^ binary.BigEndian.Uint64(u[8:])
}
