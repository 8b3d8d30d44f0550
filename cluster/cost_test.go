package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// full is a server with a peer and n owners of its own, which are all heard.
type full struct {
	*cluster.Server
	now  time.Time
	ids  []skerry.OwnerID
	next int // of ids, to beat
}

const fullTTL = 5 * time.Second

func newFull(n int) *full {
	f := &full{now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	members := []cluster.ServerID{"a", "b"}
	f.Server = cluster.New(cluster.Config{Self: "a", Life: 1, Members: members, Rand: rand.New(rand.NewPCG(1, 1))}, f.now)
	set := &skerry.Set{Node: &skerry.Node{Name: "n"}}
	for i := range n {
		id := skerry.OwnerID(fmt.Sprintf("lease/%06d", i))
		f.ids = append(f.ids, id)
		f.PutLease(f.now, cluster.Record{Owner: id, Kind: skerry.LeaseOwner, TTL: fullTTL, Version: skerry.Version{Epoch: 1, Seq: 1}, Digest: 1, Set: set})
		if i%1000 == 0 {
			f.Ready()
		}
	}
	for range 4 * 20 { // past the time of recovering
		f.tick()
	}
	return f
}

// tick lets 250 ms pass, in which the owners beat that are due to.
func (f *full) tick() {
	f.beats()
	f.idle()
}

func (f *full) beats() {
	for range 1 + len(f.ids)*250/int(fullTTL.Milliseconds())*3 {
		f.BeatLease(f.now, f.ids[f.next], 1)
		f.next = (f.next + 1) % len(f.ids)
	}
}

func (f *full) idle() {
	f.now = f.now.Add(250 * time.Millisecond)
	f.Step(f.now, "b", cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: []cluster.ServerID{"a", "b"}})
	f.Tick(f.now)
	f.Ready()
}

// A tick of 250 ms, without the beats in it.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{100, 10_000, 500_000} {
		b.Run(fmt.Sprintf("owners=%d", n), func(b *testing.B) {
			f := newFull(n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				f.beats()
				b.StartTimer()
				f.idle()
			}
			if _, shown := f.Shows(f.ids[0]); !shown {
				b.Error("a living owner is lost")
			}
		})
	}
}

func BenchmarkBeat(b *testing.B) {
	f := newFull(10_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f.BeatLease(f.now, f.ids[i%len(f.ids)], 1)
		i++
	}
}

func TestBeatsAllocateNothing(t *testing.T) {
	f := newFull(100)
	f.Attach(f.now, cluster.Attach{Owner: "agent/a", Kind: skerry.AgentOwner, TTL: fullTTL, Version: skerry.Version{Epoch: 1, Seq: 1}, Digest: 1, Attach: 1})
	f.Ready()
	for name, beat := range map[string]func(){
		"lease": func() { f.BeatLease(f.now, f.ids[0], 1) },
		"agent": func() { f.Beat(f.now, cluster.Beat{Owner: "agent/a", Epoch: 1, Attach: 1, Digest: 1}) },
	} {
		if n := testing.AllocsPerRun(100, beat); n != 0 {
			t.Errorf("a beat of the %s allocates %v times", name, n)
		}
	}
}
