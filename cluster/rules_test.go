package cluster_test

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// A loss that a and c judged rightly, while neither heard b, comes to c when b is there
// again. c asks b, which contests (R4).
func TestALossIsNotTakenWhileTheHomeIsThere(t *testing.T) {
	play := func(make maker) *few {
		f := newFew(t, make, "a", "b", "c")
		f.attach("b", "o", 1)
		beat := func() { f.beat("b", "o", 1) }
		f.pass(5*time.Second, beat)
		f.part("b")
		f.waits[[2]cluster.ServerID{"a", "c"}] = true
		for i := 0; i < 300 && f.servers["a"].Stand("o").State != cluster.Lost; i++ {
			f.pass(100*time.Millisecond, beat)
		}
		if f.servers["a"].Stand("o").State != cluster.Lost || f.hidden["c"] {
			t.Fatalf("a has %+v, c took it out %v", f.servers["a"].Stand("o"), f.hidden["c"])
		}
		f.part("a")
		f.cut[[2]cluster.ServerID{"a", "c"}], f.cut[[2]cluster.ServerID{"c", "a"}] = false, false
		f.pass(2500*time.Millisecond, beat)
		clear(f.waits)
		f.pass(3*time.Second, beat)
		return f
	}
	if play(cluster.New).hidden["c"] {
		t.Error("c takes the owner out, although its home is there")
	}
	if !play(cluster.NewNotAskingTheHome).hidden["c"] {
		t.Error("without the rule the schedule passes too")
	}
}

// All servers are apart. An owner of a moves to b. a and c meet, and b comes four seconds
// later: a, back in a majority, gives the owner a full TTL (R7).
func TestAFullTTLAfterAMinority(t *testing.T) {
	play := func(make maker) *few {
		f := newFew(t, make, "a", "b", "c")
		f.attach("a", "o", 1)
		f.pass(5*time.Second, func() { f.beat("a", "o", 1) })
		apart := func() {
			f.part("a")
			f.cut[[2]cluster.ServerID{"b", "c"}], f.cut[[2]cluster.ServerID{"c", "b"}] = true, true
		}
		apart()
		f.pass(3 * time.Second)
		f.attach("b", "o", 2)
		f.pass(20*time.Second, func() { f.beat("b", "o", 2) })
		f.part("b")
		f.pass(4*time.Second, func() { f.beat("b", "o", 2) })
		f.part()
		f.pass(5*time.Second, func() { f.beat("b", "o", 2) })
		for id := range f.servers {
			if f.servers[id].Stand("o").Home != "b" || !f.shows(id, "o") {
				t.Errorf("%s has %+v", id, f.servers[id].Stand("o"))
			}
		}
		return f
	}
	if f := play(cluster.New); len(f.hidden) > 0 {
		t.Errorf("%v take the owner out", f.hidden)
	}
	if f := play(cluster.NewWithoutAFullTTL); len(f.hidden) == 0 {
		t.Error("without the rule the schedule passes too")
	}
}

// A cut heals, and the word that b took an owner over comes to a before b's tick does. The
// owner has its grace from then on, not from the beginning of the cut.
func TestAnOrphanHasItsGraceFromItsHomesLastMessage(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c")
	a, b := f.servers["a"], f.servers["b"]
	a.PutLease(f.now, lease("o"))
	f.pass(time.Second)
	f.part("b")
	f.pass(15*time.Second, func() { b.BeatLease(f.now, "o", 1) })
	r := lease("o")
	if r.Stand = b.Stand("o"); r.Stand.Home != "b" || f.shows("a", "o") {
		t.Fatalf("b has %+v, a shows the owner %v", r.Stand, f.shows("a", "o"))
	}
	a.Step(f.now, "b", cluster.Log{First: cluster.Pos{Life: 1, Seq: 1}, Records: []cluster.Record{r}})
	f.pass(2 * time.Second)
	if !f.shows("a", "o") {
		t.Errorf("a takes out what it has just heard of: %+v", a.Stand("o"))
	}
	if f.pass(10 * time.Second); f.shows("a", "o") {
		t.Errorf("b is not heard, and its owner is shown: %+v", a.Stand("o"))
	}
}

// b is cut off and takes over an owner that beats at c as well, whose home is a. When b and c hear
// each other again, c tells a of the owner's new home before a hears b. The owner has its grace at a
// from then on.
func TestAnOrphanHasItsGraceFromItsNewHome(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c", "d", "e")
	a, b, c := f.servers["a"], f.servers["b"], f.servers["c"]
	a.PutLease(f.now, lease("o"))
	f.pass(time.Second)
	f.part("b")
	f.pass(15*time.Second, func() {
		b.BeatLease(f.now, "o", 1)
		c.BeatLease(f.now, "o", 1)
	})
	if at := a.Stand("o"); at.Home != "a" || !f.shows("a", "o") || b.Stand("o").Home != "b" {
		t.Fatalf("a has %+v, b has %+v", at, b.Stand("o"))
	}
	clear(f.cut)
	f.cut[[2]cluster.ServerID{"a", "b"}], f.cut[[2]cluster.ServerID{"b", "a"}] = true, true
	if f.pass(2 * time.Second); f.hidden["a"] {
		t.Errorf("a takes out what c heard")
	}
	if at := a.Stand("o"); at.Home != "b" {
		t.Errorf("a does not learn of the new home: %+v", at)
	}
}

// A loss by an owner's home waits if that home and another server that is there do not hear each other: that one may have
// heard the owner, and take it over.
func TestALossWaitsForAServerThatItsHomeDoesNotHear(t *testing.T) {
	for _, hears := range []bool{true, false} {
		a := newAlone("a")
		tick := func() {
			ofC, ofB := []cluster.ServerID{"a", "c"}, []cluster.ServerID{"a", "b"}
			if hears {
				ofC, ofB = append(ofC, "b"), append(ofB, "c")
			}
			a.Step(a.now, "b", cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: ofB})
			a.Step(a.now, "c", cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: ofC})
			a.pass(500 * time.Millisecond)
		}
		for range 8 {
			tick()
		}
		r := leased(skerry.Version{Epoch: 5, Seq: 1})
		r.Stand = cluster.Stand{Epoch: 5, Attach: 1, State: cluster.Live, Home: "c", By: "c"}
		a.Step(a.now, "c", cluster.Fetched{Records: []cluster.Record{r}})
		r.Stand.Bid, r.Stand.State, r.Set = 1, cluster.Lost, nil
		a.Step(a.now, "c", cluster.Fetched{Records: []cluster.Record{r}})
		if _, shown := a.Shows("o"); shown == hears {
			t.Errorf("c hears b %v, and the owner is shown %v", hears, shown)
		}
		tick()
		tick()
		a.Step(a.now, "c", cluster.Fetched{Records: []cluster.Record{r}})
		if _, shown := a.Shows("o"); shown {
			t.Errorf("c hears b %v, and the owner that no server took over is shown", hears)
		}
	}
}

// A server starts with a lease from its disk. One peer knows that the server lost it in an earlier
// life, and another one that it has lived on: the lease is shown all the time.
func TestALossOfAnEarlierLifeWaitsForAllPeers(t *testing.T) {
	at := func(home cluster.ServerID, attach uint64, bid uint32, is cluster.State) cluster.Record {
		r := leased(skerry.Version{Epoch: 5, Seq: 1})
		r.Stand = cluster.Stand{Epoch: 5, Attach: attach, Bid: bid, State: is, Home: home, By: home}
		return r
	}
	for _, lives := range []bool{true, false} {
		a := newAlone("a")
		a.Restore(a.now, leased(skerry.Version{Epoch: 5, Seq: 1}))
		for _, peer := range []cluster.ServerID{"b", "c"} {
			a.Step(a.now, peer, cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: []cluster.ServerID{"a", peer}})
		}
		lost := at("a", 4, 1, cluster.Lost)
		lost.Set = nil
		compare := func(peer cluster.ServerID, r cluster.Record) {
			a.Step(a.now, peer, cluster.Sums{Buckets: []uint64{1}, Seen: map[cluster.ServerID]cluster.Pos{peer: {Life: 1}}})
			for _, e := range a.Ready().Send {
				if want, is := e.Message.(cluster.Want); is {
					a.Step(a.now, peer, cluster.Fetched{Records: []cluster.Record{r}, Repair: want.Repair})
				}
			}
		}
		compare("b", lost)
		if _, shown := a.Shows("o"); !shown {
			t.Fatal("a takes the lease out before it has compared itself with c")
		}
		if lives {
			compare("c", at("c", 7, 0, cluster.Live))
		} else {
			compare("c", lost)
		}
		if _, shown := a.Shows("o"); shown != lives {
			t.Errorf("it lives %v, and is shown %v: %+v", lives, shown, a.Stand("o"))
		}
	}
}
