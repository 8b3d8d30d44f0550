package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// half holds the silent owners when they are more than half of all.
type half int

func (all half) Hold(silent, _ []skerry.OwnerID) ([]skerry.OwnerID, time.Duration) {
	if 2*len(silent) <= int(all) {
		return nil, 0
	}
	return silent, time.Minute
}

// lone is a server without peers and its clock.
type lone struct {
	*cluster.Server
	now   time.Time
	shows map[skerry.OwnerID]cluster.Change
}

func newLone(guard cluster.Guard) *lone {
	l := &lone{now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), shows: map[skerry.OwnerID]cluster.Change{}}
	l.Server = cluster.New(cluster.Config{Self: "s", Life: 1, Members: []cluster.ServerID{"s"}, Guard: guard, Rand: rand.New(rand.NewPCG(1, 1))}, l.now)
	return l
}

// pass lets time pass while these owners beat.
func (l *lone) pass(d time.Duration, alive ...skerry.OwnerID) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(100 * time.Millisecond) {
		for _, id := range alive {
			l.BeatLease(l.now, id, 1)
		}
		l.Tick(l.now)
		for _, c := range l.Ready().Changes {
			if c.Show {
				l.shows[c.Owner] = c
			} else {
				delete(l.shows, c.Owner)
			}
		}
	}
}

func every(skerry.OwnerID) bool { return true }

func owners(n int) (out []skerry.OwnerID) {
	for i := range n {
		out = append(out, skerry.OwnerID(fmt.Sprintf("o%d", i)))
	}
	return out
}

func (l *lone) put(ids []skerry.OwnerID) {
	for _, id := range ids {
		l.PutLease(l.now, cluster.Record{
			Owner: id, Kind: skerry.LeaseOwner, TTL: 3 * time.Second, Version: skerry.Version{Epoch: 1, Seq: 1}, Digest: 1,
			Set: &skerry.Set{Node: &skerry.Node{Name: string(id)}},
		})
	}
}

// asked notes for what the guard is asked.
type asked struct{ silent, quiet []skerry.OwnerID }

func (a *asked) Hold(silent, quiet []skerry.OwnerID) ([]skerry.OwnerID, time.Duration) {
	if a.silent == nil {
		a.silent, a.quiet = silent, quiet
	}
	return nil, 0
}

// o1 fell silent just after o0, and o2 a second later.
func TestTheGuardIsToldOfTheQuiet(t *testing.T) {
	var guard asked
	l := newLone(&guard)
	all := owners(4)
	l.put(all)
	l.pass(10*time.Second, all...)
	l.pass(500*time.Millisecond, all[1:]...)
	l.pass(time.Second, all[2:]...)
	l.pass(3*time.Second, all[3:]...)
	if !slices.Equal(guard.silent, all[:1]) || !slices.Equal(guard.quiet, all[1:2]) {
		t.Errorf("silent %v, quiet %v", guard.silent, guard.quiet)
	}
}

func TestTheGuardHoldsByBids(t *testing.T) {
	all := owners(10)
	start := func() *lone {
		l := newLone(half(len(all)))
		l.put(all)
		l.pass(10*time.Second, all...)
		return l
	}
	t.Run("few are lost", func(t *testing.T) {
		l := start()
		l.pass(5*time.Second, all[2:]...)
		if len(l.shows) != 8 || l.Stand("o0").State != cluster.Lost {
			t.Errorf("%d are shown, %+v", len(l.shows), l.Stand("o0"))
		}
	})
	t.Run("many are held, and return or are lost", func(t *testing.T) {
		l := start()
		l.pass(5*time.Second, all[9:]...)
		held := 0
		for _, c := range l.shows {
			if l.Stand(c.Owner).State == cluster.Held {
				held++
			}
		}
		if len(l.shows) != 10 || held != 9 {
			t.Fatalf("%d are shown and %d held", len(l.shows), held)
		}
		l.pass(time.Second, all[5:]...)
		if s := l.Stand("o6"); s.State != cluster.Live {
			t.Errorf("one that returned is at %+v", s)
		}
		two := func(id skerry.OwnerID) bool { return id < all[2] }
		if lost, left := l.Release(l.now, two); !slices.Equal(lost, all[:2]) || left != nil {
			t.Errorf("released %v, %v are left", lost, left)
		}
		lost, left := l.Release(l.now, every)
		l.pass(time.Second, all[5:]...)
		if !slices.Equal(lost, all[2:5]) || left != nil || len(l.shows) != 5 {
			t.Errorf("released %v, %v are left, %d are shown", lost, left, len(l.shows))
		}
	})
	t.Run("a hold ends", func(t *testing.T) {
		l := start()
		l.pass(2 * time.Minute)
		if len(l.shows) != 0 {
			t.Errorf("%d are shown", len(l.shows))
		}
	})
}
