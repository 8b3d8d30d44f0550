package cluster_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// alone is a server that is a majority by itself, and its clock.
type alone struct {
	*cluster.Server
	now time.Time
}

func newAlone(self cluster.ServerID) *alone {
	a := &alone{now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	a.Server = cluster.New(cluster.Config{Self: self, Life: 1, Members: []cluster.ServerID{self}, Rand: rand.New(rand.NewPCG(1, 1))}, a.now)
	return a
}

func (a *alone) pass(d time.Duration) {
	for end := a.now.Add(d); a.now.Before(end); a.now = a.now.Add(100 * time.Millisecond) {
		a.Tick(a.now)
		a.Ready()
	}
}

// hear takes the first tick of another server, from whose log records are taken then.
func (a *alone) hear(from cluster.ServerID) {
	a.Step(a.now, from, cluster.Tick{Head: cluster.Pos{Life: 1}})
}

func leased(v skerry.Version) cluster.Record {
	return cluster.Record{Owner: "o", Kind: skerry.LeaseOwner, TTL: 6 * time.Second, Version: v, Digest: v.Seq, Set: &skerry.Set{Node: &skerry.Node{Name: "n"}}}
}

// A version that another server knows, and whose set no server has, is told to the lease at its
// next beat: that server would never show a lesser one.
func TestALeaseGoesAboveAVersionWithoutASet(t *testing.T) {
	a := newAlone("a")
	a.PutLease(a.now, leased(skerry.Version{Epoch: 5, Seq: 1}))
	known := skerry.Version{Epoch: 9, Seq: 1}
	a.hear("b")
	a.Step(a.now, "b", cluster.Log{First: cluster.Pos{Life: 1, Seq: 1}, Records: []cluster.Record{{Owner: "o", Kind: skerry.LeaseOwner, TTL: 6 * time.Second, Version: known}}})
	if told := a.BeatLease(a.now, "o", 1); !told.Want || told.Version != known || a.Newest("o") != known {
		t.Errorf("the beat is told %+v, the newest is %v", told, a.Newest("o"))
	}
	if _, shown := a.Shows("o"); !shown {
		t.Error("the lease is not shown until then")
	}
	next := leased(skerry.Version{Epoch: 9, Seq: 2})
	if told := a.PutLease(a.now, next); told.Want || told.Version != next.Version {
		t.Errorf("the next put is told %+v", told)
	}
}

// Another server that did not know the home of a lease took it, and so heard it: at its home that
// counts as a beat.
func TestALeaseThatAnotherServerTookLives(t *testing.T) {
	a := newAlone("c")
	a.pass(10 * time.Second)
	a.PutLease(a.now, leased(skerry.Version{Epoch: 5, Seq: 1}))
	a.pass(5 * time.Second)
	a.hear("b")
	took := leased(skerry.Version{Epoch: 5, Seq: 1})
	took.Stand = cluster.Stand{Epoch: 5, Attach: 1, State: cluster.Live, Home: "b", By: "b"}
	a.Step(a.now, "b", cluster.Log{First: cluster.Pos{Life: 1, Seq: 1}, Records: []cluster.Record{took}})
	a.pass(5 * time.Second)
	if stand := a.Stand("o"); stand.State != cluster.Live || stand.Home != "c" {
		t.Fatalf("after 5 s: %+v", stand)
	}
	a.pass(2 * time.Second)
	if stand := a.Stand("o"); stand.State != cluster.Lost {
		t.Errorf("after its TTL: %+v", stand)
	}
}

// A home acknowledges a beat while the next one lands: that one is told too.
func TestABeatThatLandsMeanwhileIsTold(t *testing.T) {
	a := newAlone("a")
	a.Step(a.now, "b", cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: []cluster.ServerID{"a", "b"}})
	r := leased(skerry.Version{Epoch: 5, Seq: 1})
	r.Stand = cluster.Stand{Epoch: 5, Attach: 1, State: cluster.Live, Home: "b", By: "b"}
	a.Step(a.now, "b", cluster.Fetched{Records: []cluster.Record{r}})
	told := func() (told cluster.Heard) {
		for range 3 {
			a.now = a.now.Add(100 * time.Millisecond)
			a.Tick(a.now)
			for _, e := range a.Ready().Send {
				if m, is := e.Message.(cluster.Heard); is && e.To == "b" {
					told = m
				}
			}
		}
		return told
	}
	a.BeatLease(a.now, "o", 1)
	first := told()
	if len(first.Owners) != 1 {
		t.Fatalf("the home is told %+v", first)
	}
	a.BeatLease(a.now, "o", 1)
	a.Step(a.now, "b", cluster.HeardOK(first))
	second := told()
	if len(second.Owners) != 1 || second.N == first.N {
		t.Errorf("of the second beat the home is told %+v", second)
	}
	a.Step(a.now, "b", cluster.HeardOK(second))
	if more := told(); len(more.Owners) != 0 {
		t.Errorf("both are acknowledged, and the home is told %+v", more)
	}
}

// A server that names itself as the home of an owner that has another one by now may have heard it:
// a loss by that one waits for its contest.
func TestALossWaitsForTheOneThatNamedItselfTheHome(t *testing.T) {
	at := func(home cluster.ServerID, attach, bid uint32, is cluster.State) cluster.Record {
		r := leased(skerry.Version{Epoch: 5, Seq: 1})
		r.Stand = cluster.Stand{Epoch: 5, Attach: uint64(attach), Bid: bid, State: is, Home: home, By: home}
		return r
	}
	for _, claims := range []bool{true, false} {
		a := newAlone("a")
		a.hear("b")
		a.hear("c")
		tell := func(from cluster.ServerID, r cluster.Record) {
			a.Step(a.now, from, cluster.Owned{Records: []cluster.Record{r}})
			a.Step(a.now, from, cluster.Fetched{Records: []cluster.Record{r}})
		}
		tell("c", at("c", 4, 0, cluster.Live))
		if claims {
			tell("b", at("b", 3, 0, cluster.Live))
		}
		lost := at("c", 4, 1, cluster.Lost)
		lost.Set = nil
		tell("c", lost)
		if _, shown := a.Shows("o"); shown != claims {
			t.Errorf("b names itself as the home %v, and the owner is shown %v", claims, shown)
		}
		a.pass(1500 * time.Millisecond)
		tell("c", lost)
		if _, shown := a.Shows("o"); shown {
			t.Error("b does not contest, and the owner is shown")
		}
	}
}

// The log of an owner that was forgotten since does not tell how it ended: the buckets are
// compared in its place.
func TestALogOfAForgottenOwnerIsNotSent(t *testing.T) {
	a := newAlone("a")
	a.hear("b") // without others it keeps no log
	a.PutLease(a.now, leased(skerry.Version{Epoch: 5, Seq: 1}))
	a.PutLease(a.now, cluster.Record{Owner: "o", Kind: skerry.LeaseOwner, TTL: 6 * time.Second, Version: skerry.Version{Epoch: 5, Seq: 2}, Gone: true})
	answer := func() cluster.Message {
		a.Ready()
		a.Step(a.now, "b", cluster.Ask{After: cluster.Pos{Life: 1, Seq: 1}})
		for _, e := range a.Ready().Send {
			if e.To == "b" {
				return e.Message
			}
		}
		return nil
	}
	if m, is := answer().(cluster.Log); !is {
		t.Fatalf("while it is known: %T", m)
	}
	a.now = a.now.Add(26 * time.Hour)
	a.pass(time.Minute)
	if m, is := answer().(cluster.Sums); !is {
		t.Errorf("when it is forgotten: %T", m)
	}
}

// An owner that ended by another server's log is sent with its end.
func TestALogHasTheEndOfAnOwnerThatEndedElsewhere(t *testing.T) {
	a := newAlone("a")
	a.hear("b") // without others it keeps no log
	for seq := range uint64(2) {
		a.PutLease(a.now, leased(skerry.Version{Epoch: 5, Seq: 1 + seq}))
		a.Ready()
	}
	answer := func() cluster.Message {
		a.Step(a.now, "c", cluster.Ask{After: cluster.Pos{Life: 1, Seq: 1}})
		for _, e := range a.Ready().Send {
			if e.To == "c" {
				return e.Message
			}
		}
		return nil
	}
	if m, is := answer().(cluster.Log); !is || m.Records[0].Gone {
		t.Fatalf("while it lives: %+v", m)
	}
	gone := leased(skerry.Version{Epoch: 5, Seq: 3})
	gone.Gone, gone.Set, gone.Ended = true, nil, a.now.UnixMilli()
	a.hear("b")
	a.Step(a.now, "b", cluster.Fetched{Records: []cluster.Record{gone}})
	if m, is := answer().(cluster.Log); !is || !m.Records[0].Gone || m.Records[0].Version != gone.Version {
		t.Errorf("when it ended: %+v", m)
	}
}
