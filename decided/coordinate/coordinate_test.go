package coordinate_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	serf "github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/coordinate"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func place(x float64) *serf.Coordinate {
	c := serf.NewCoordinate(serf.DefaultConfig())
	c.Vec[0], c.Height = x, 0
	return c
}

// coordinates run until stop is called.
func coordinates(kv skerry.KV, c skerry.Catalog) (co *coordinate.Store, stop func()) {
	co = coordinate.New(coordinate.Options{KV: kv, Catalog: c, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); co.Run(ctx) }()
	return co, func() { cancel(); <-ended }
}

func TestCoordinatesAreStoredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv, table := replicatest.NewMemory(), catalog.New(catalog.Config{})
		for i := range 150 {
			decidedtest.Announce(t, table, fmt.Sprint("n", i), "10.0.0.1", nil, nil, skerry.Passing)
		}
		here, stop := coordinates(kv, table)
		there, stopThere := coordinates(kv, table)
		defer stopThere()
		began := kv.Index()
		for i := range 150 {
			here.Update(fmt.Sprint("n", i), place(float64(i)))
		}
		here.Update("nobody", place(1))
		if here.Get("n149") == nil || here.Get("nobody") == nil {
			t.Error("they are not there at once")
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if n := kv.Index() - began; n != 1 {
			t.Errorf("%d writes after the first second, want 1", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := kv.Index() - began; n != 2 {
			t.Errorf("%d writes after the second, want 2", n)
		}
		all, _ := there.All()
		if len(all) != 150 || all["n149"].Vec[0] != 149 {
			t.Errorf("another server has %d", len(all))
		}
		_, changed := there.Changed()
		here.Update("n1", place(1)) // the same again
		here.Update("n2", place(7))
		time.Sleep(2 * time.Second)
		<-changed
		if there.Get("n2").Vec[0] != 7 || kv.Index()-began != 3 {
			t.Errorf("n2 is at %v after %d writes", there.Get("n2").Vec[0], kv.Index()-began)
		}
		stop()
		later, stopLater := coordinates(kv, table)
		defer stopLater()
		synctest.Wait()
		if all, _ := later.All(); len(all) != 150 {
			t.Errorf("a server that starts later has %d", len(all))
		}
	})
}

func TestCoordinatesOfNodesThatAreGoneAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv, table := replicatest.NewMemory(), catalog.New(catalog.Config{})
		for _, n := range []string{"n1", "n2"} {
			decidedtest.Announce(t, table, n, "10.0.0.1", nil, nil, skerry.Passing)
		}
		here, stop := coordinates(kv, table)
		defer stop()
		other, stopOther := coordinates(kv, table)
		defer stopOther()
		here.Update("n1", place(1))
		here.Update("n2", place(2))
		time.Sleep(2 * time.Second)
		table.Withdraw("agent/n1", skerry.Version{Epoch: 1, Seq: 2})
		time.Sleep(11 * time.Minute)
		if here.Get("n1") == nil {
			t.Error("it is dropped at once")
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, c := range []*coordinate.Store{here, other} {
			if c.Get("n1") != nil || c.Get("n2") == nil {
				t.Errorf("n1 is at %v, n2 at %v", c.Get("n1"), c.Get("n2"))
			}
		}
		if _, err := table.Announce(skerry.Announcement{
			Owner: "agent/n1", Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 2, Seq: 1}, Set: &skerry.Set{Node: &skerry.Node{Name: "n1", Address: "10.0.0.1"}},
		}); err != nil {
			t.Fatal(err)
		}
		here.Update("n1", place(3))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if other.Get("n1") == nil {
			t.Error("a node that came again has no coordinate")
		}
	})
}

// silent is a store without a quorum.
type silent struct{ *replicatest.Memory }

func (silent) Update(context.Context, func(skerry.Tx) error) (uint64, error) {
	return 0, skerry.Errorf(skerry.Unavailable, "no quorum")
}

func TestCoordinatesWithoutAQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := catalog.New(catalog.Config{})
		decidedtest.Announce(t, table, "n1", "10.0.0.1", nil, nil, skerry.Passing)
		c, stop := coordinates(silent{replicatest.NewMemory()}, table)
		defer stop()
		c.Update("n1", place(1))
		time.Sleep(5 * time.Second)
		if c.Get("n1") == nil {
			t.Error("it is lost")
		}
	})
}

func TestDistances(t *testing.T) {
	c := coordinate.New(coordinate.Options{KV: replicatest.NewMemory(), Catalog: catalog.New(catalog.Config{}), Log: slog.New(slog.DiscardHandler)})
	c.Update("a", place(1))
	c.Update("b", place(3))
	c.Update("flat", &serf.Coordinate{Vec: []float64{1}})
	from := c.From("a")
	for to, want := range map[string]float64{"b": 2, "flat": math.Inf(1), "none": math.Inf(1)} {
		if got := from(to); math.Abs(got-want) > 0.001 {
			t.Errorf("to %s: %v, want %v", to, got, want)
		}
	}
	if c.From("none") != nil {
		t.Error("a node without a coordinate has distances")
	}
}
