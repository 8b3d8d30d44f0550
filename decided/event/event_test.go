package event_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/event"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// self is a node with one service.
type self struct{ skerry.Local }

func (self) Node() *skerry.Node { return &skerry.Node{Name: "n1"} }
func (self) Instances() []*skerry.Instance {
	return []*skerry.Instance{{ID: "web", Service: "web", Tags: []string{"blue"}}}
}

func newEvents(kv skerry.KV) *event.Log {
	return event.New(event.Options{KV: kv, Local: self{}, Log: slog.New(slog.DiscardHandler)})
}

func names(e *event.Log, of string) (out []string) {
	all, _, _ := e.List(of, nil)
	for _, ev := range all {
		out = append(out, ev.Name)
	}
	return out
}

func TestEventsAreForSomeNodes(t *testing.T) {
	e := newEvents(replicatest.NewMemory())
	for name, ev := range map[string]skerry.Event{
		"all": {}, "node": {NodeFilter: "^n[0-9]$"}, "other": {NodeFilter: "x"}, "service": {ServiceFilter: "w.b"},
		"no-service": {ServiceFilter: "db"}, "tag": {ServiceFilter: "web", TagFilter: "blue"}, "no-tag": {ServiceFilter: "web", TagFilter: "red"},
	} {
		ev.Name = name
		if fired := e.Fire(t.Context(), ev); fired.ID == "" || fired.Version != 1 || fired.LTime < 2 {
			t.Errorf("fired: %+v", fired)
		}
	}
	got := names(e, "")
	slices.Sort(got)
	if want := []string{"all", "node", "service", "tag"}; !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
	if got := names(e, "tag"); !slices.Equal(got, []string{"tag"}) {
		t.Errorf("of the name: %v", got)
	}
}

// Other servers hear an event, those that start later too, and the last 256 are kept.
func TestEventsSpreadAndLast(t *testing.T) {
	kv := replicatest.NewMemory()
	here, there := newEvents(kv), newEvents(kv)
	_, none, changed := there.List("", nil)
	if none != 0 {
		t.Errorf("the index without an event is %d", none)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); there.Run(ctx) }()
	here.Fire(t.Context(), skerry.Event{Name: "first", Payload: []byte("x")})
	<-changed
	stop()
	<-ended
	for i := range 300 {
		here.Fire(t.Context(), skerry.Event{Name: fmt.Sprint("e", i)})
	}
	for name, e := range map[string]*event.Log{"here": here, "there": there, "later": newEvents(kv)} {
		all, index, _ := e.List("", nil)
		if len(all) != 256 || all[255].Name != "e299" || all[0].Name != "e44" || index == 0 {
			t.Errorf("%s: %d events, from %s to %s", name, len(all), all[0].Name, all[len(all)-1].Name)
		}
		for i := range all[1:] {
			if all[i].LTime >= all[i+1].LTime {
				t.Fatalf("%s: LTime %d follows %d", name, all[i+1].LTime, all[i].LTime)
			}
		}
	}
	stored := 0
	for range kv.Snapshot().All(skerry.Below("event/"), "") {
		stored++
	}
	if stored != 256 {
		t.Errorf("%d events are stored", stored)
	}
}

// silent is a store without a quorum.
type silent struct{ *replicatest.Memory }

func (silent) Update(context.Context, func(skerry.Tx) error) (uint64, error) {
	return 0, skerry.Errorf(skerry.Unavailable, "no quorum")
}

func TestEventsWithoutAQuorum(t *testing.T) {
	kv := replicatest.NewMemory()
	before := newEvents(kv).Fire(t.Context(), skerry.Event{Name: "before"})
	e := newEvents(silent{kv})
	_, _, changed := e.List("", nil)
	alone := e.Fire(t.Context(), skerry.Event{Name: "alone"})
	<-changed
	if got := names(e, ""); !slices.Equal(got, []string{"before", "alone"}) || alone.LTime <= before.LTime {
		t.Errorf("heard %v with LTime %d after %d", got, alone.LTime, before.LTime)
	}
}
