package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// The owners of a server that dies move over the time in which the others can take them, and all at once where they
// are few.
func TestOwnersOfADeadServerSpread(t *testing.T) {
	for _, tt := range []struct {
		beside      int
		least, most time.Duration // of the last one's move
	}{{10, 200 * time.Millisecond, 400 * time.Millisecond}, {1200, 1500 * time.Millisecond, 2100 * time.Millisecond}, {100_000, 8 * time.Second, 10100 * time.Millisecond}} {
		t.Run(fmt.Sprint(tt.beside), func(t *testing.T) {
			var last time.Duration
			for n := range 50 {
				o := cluster.NewOwner(cluster.OwnerConfig{
					ID: "agent/n", Kind: skerry.AgentOwner, TTL: 5 * time.Second, Servers: []cluster.ServerID{"a", "b", "c"}, Rand: rand.New(rand.NewPCG(uint64(n), 1)),
				}, v1, 1)
				now := begin
				o.Tick(now)
				attach := o.Ready()[0]
				o.Step(now, attach.To, cluster.Attached{Owner: "agent/n", Attach: 1, OK: true, Owners: tt.beside})
				o.Broke(now, attach.To)
				for at := now; ; at = at.Add(10 * time.Millisecond) {
					o.Tick(at)
					if out := o.Ready(); len(out) > 0 {
						if out[0].To == attach.To {
							t.Fatalf("it goes back to %s", attach.To)
						}
						last = max(last, at.Sub(now))
						break
					}
				}
			}
			if last < tt.least || last > tt.most {
				t.Errorf("the last of 50 moves after %v", last)
			}
		})
	}
}

// An owner does not stay at a server that hears no majority while there may be one that does: the others may take it out.
func TestAnOwnerLooksForAServerWithAMajority(t *testing.T) {
	for seed := range uint64(20) {
		o := cluster.NewOwner(cluster.OwnerConfig{
			ID: "agent/n", Kind: skerry.AgentOwner, TTL: 5 * time.Second, Servers: []cluster.ServerID{"a", "b", "c"}, Rand: rand.New(rand.NewPCG(seed, 1)),
		}, v1, 1)
		now := begin
		// attaches returns the server to which the owner attaches by a time; empty: to none.
		attaches := func(by time.Duration, minority bool) cluster.ServerID {
			for end := now.Add(by); !now.After(end); now = now.Add(10 * time.Millisecond) {
				o.Tick(now)
				for _, e := range o.Ready() {
					if a, ok := e.Message.(cluster.Attach); ok {
						o.Step(now, e.To, cluster.Attached{Owner: "agent/n", Attach: a.Attach, OK: true, Owners: 1, Minority: minority})
						return e.To
					}
				}
			}
			return ""
		}
		first := attaches(0, true)
		second := attaches(20*time.Millisecond, false)
		if second == "" || second == first {
			t.Fatalf("it attached to %q, which hears no majority, and then to %q", first, second)
		}
		if to := attaches(time.Second, false); to != "" {
			t.Fatalf("it leaves %s, which hears a majority, for %s", second, to)
		}
		o.Step(now, second, cluster.Beaten{Owner: "agent/n", OK: true, Minority: true})
		if third := attaches(400*time.Millisecond, true); third == "" || third == second {
			t.Fatalf("it stays at %s, which hears no majority any more", second)
		}
		// It does not go round for ever while no server hears a majority.
		times := 0
		for attaches(time.Second, true) != "" {
			if times++; times > 3 {
				t.Fatal("it goes from server to server, of which none hears a majority")
			}
		}
		if o.Home() == "" {
			t.Error("it is attached to no server, since none hears a majority")
		}
	}
}

// Many owners of a server that died move one after the other. One that has not moved yet is not lost, although it
// was silent for longer than its TTL.
func TestAnOrphanOfManyHasALongerGrace(t *testing.T) {
	for _, many := range []bool{false, true} {
		f := newFew(t, cluster.New, "a", "b", "c")
		f.attach("b", "o", 1)
		if many {
			for n := range 1500 {
				f.attach("b", skerry.OwnerID(fmt.Sprint("o", n)), 1)
			}
		}
		f.pass(500 * time.Millisecond)
		f.part("b")
		f.pass(2500 * time.Millisecond) // it is noticed
		for n := range 1490 {
			if many {
				f.attach("c", skerry.OwnerID(fmt.Sprint("o", n)), 2)
			}
		}
		f.pass(8 * time.Second)
		if shown := f.shows("a", "o"); shown != many {
			t.Errorf("many %v: after 10 s the owner is shown %v", many, shown)
		}
		f.pass(8 * time.Second)
		if f.shows("a", "o") {
			t.Errorf("many %v: the owner is never lost", many)
		}
	}
}

// An owner has nothing to do before the time that Due names.
func TestAnOwnerDoesNothingBeforeItIsDue(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		o := cluster.NewOwner(cluster.OwnerConfig{
			ID: "agent/n1", Kind: skerry.AgentOwner, TTL: 5 * time.Second, Rand: rnd, Servers: []cluster.ServerID{"s1", "s2"},
		}, skerry.Version{Epoch: 1, Seq: 1}, 7)
		now := time.Unix(1000, 0)
		for range 300 {
			due := o.Due(now)
			if early := due.Add(-time.Millisecond); early.After(now) {
				o.Tick(early)
				if out := o.Ready(); len(out) > 0 {
					t.Fatalf("seed %d: %v before the owner is due it sends a %T", seed, due.Sub(early), out[0].Message)
				}
				now = early
			}
			now = now.Add(time.Duration(rnd.IntN(500)) * time.Millisecond)
			o.Tick(now)
			for _, e := range o.Ready() {
				switch m := e.Message.(type) {
				case cluster.Attach:
					o.Step(now, e.To, cluster.Attached{Owner: m.Owner, Attach: m.Attach, OK: rnd.IntN(4) > 0, Want: rnd.IntN(2) == 0})
				case cluster.Announce:
					if rnd.IntN(3) > 0 {
						o.Step(now, e.To, cluster.Told{Owner: m.Owner, Version: m.Version})
					}
				case cluster.Beat:
					if rnd.IntN(4) > 0 {
						o.Step(now, e.To, cluster.Beaten{Owner: m.Owner, OK: true, Want: rnd.IntN(8) == 0, Reattach: rnd.IntN(8) == 0})
					}
				}
			}
			if rnd.IntN(10) == 0 {
				v := o.Version()
				o.Changed(skerry.Version{Epoch: v.Epoch, Seq: v.Seq + 1}, rnd.Uint64(), false)
			}
		}
	}
}
