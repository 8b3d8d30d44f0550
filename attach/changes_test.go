package attach

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// apply announces a set and then a delta to a table of its own, and returns the digest of the result.
func apply(t *testing.T, set *skerry.Set, steps ...change) *catalog.Table {
	t.Helper()
	table := catalog.New(catalog.Config{})
	announce := func(a skerry.Announcement) {
		a.Owner, a.Kind, a.TTL = "o", skerry.AgentOwner, time.Minute
		if out, err := table.Announce(a); err != nil || out != skerry.Applied && out != skerry.Unchanged {
			t.Fatalf("announce: %v %v", out, err)
		}
	}
	announce(skerry.Announcement{Version: skerry.Version{Epoch: 1, Seq: 1}, Digest: set.Digest(), Set: set})
	for _, c := range steps {
		announce(skerry.Announcement{Version: c.version, Base: c.base, Digest: c.digest, Delta: &c.delta})
	}
	return table
}

// A joined step leads to what the steps lead to, for steps at random.
func TestJoinedStepsLeadToTheSame(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		instance := func() *skerry.Instance {
			id := fmt.Sprint("i", r.IntN(6))
			return &skerry.Instance{ID: id, Service: "web", Port: r.IntN(1000) + 1, Weights: skerry.Weights{Passing: 1, Warning: 1}}
		}
		set := &skerry.Set{Node: &skerry.Node{Name: "n", Address: "10.0.0.1"}}
		there := map[string]*skerry.Instance{}
		for range r.IntN(6) {
			i := instance()
			there[i.ID] = i
		}
		for _, i := range there {
			set.Instances = append(set.Instances, i)
		}
		var cs changes
		var steps []change
		v := skerry.Version{Epoch: 1, Seq: 1}
		for range 1 + r.IntN(8) {
			d := skerry.Delta{}
			now := instance()
			if r.IntN(3) == 0 && there[now.ID] != nil {
				delete(there, now.ID)
				d.RemovedInstances = []string{now.ID}
			} else {
				there[now.ID] = now
				d.Instances = []*skerry.Instance{now}
			}
			is := &skerry.Set{Node: set.Node}
			for _, i := range there {
				is.Instances = append(is.Instances, i)
			}
			next := v
			next.Seq++
			c := change{v, next, is.Digest(), d}
			cs.add(c)
			steps = append(steps, c)
			v = next
		}
		one, ok := cs.since(skerry.Version{Epoch: 1, Seq: 1})
		if !ok || one.version != v {
			t.Fatalf("seed %d: %+v, %v", seed, one, ok)
		}
		each, joined := apply(t, set, steps...).Service("web"), apply(t, set, one).Service("web")
		if len(each.Entries) != len(joined.Entries) {
			t.Fatalf("seed %d: %d instances by steps, %d by the joined one", seed, len(each.Entries), len(joined.Entries))
		}
		ports := map[string]int{}
		for _, e := range each.Entries {
			ports[e.Instance.ID] = e.Instance.Port
		}
		for _, e := range joined.Entries {
			if ports[e.Instance.ID] != e.Instance.Port {
				t.Errorf("seed %d: %s has %d by steps, %d by the joined one", seed, e.Instance.ID, ports[e.Instance.ID], e.Instance.Port)
			}
		}
	}
}

func TestStepsAreKeptInARow(t *testing.T) {
	at := func(seq uint64) skerry.Version { return skerry.Version{Epoch: 1, Seq: seq} }
	var cs changes
	for seq := range uint64(10) {
		cs.add(change{base: at(seq), version: at(seq + 1)})
	}
	if c, ok := cs.since(at(4)); !ok || c.version != at(10) || len(cs.steps) != 6 {
		t.Errorf("since 4: %+v, %v, %d are left", c, ok, len(cs.steps))
	}
	if _, ok := cs.since(at(2)); ok {
		t.Error("a step that the server has is known still")
	}
	cs.add(change{base: at(20), version: at(21)})
	if _, ok := cs.since(at(9)); ok || len(cs.steps) != 1 {
		t.Errorf("a step is missing, and %d are kept", len(cs.steps))
	}
	for seq := range uint64(maxChanges) {
		cs.add(change{base: at(21 + seq), version: at(22 + seq)})
	}
	if len(cs.steps) > maxChanges {
		t.Errorf("%d are kept", len(cs.steps))
	}
}
