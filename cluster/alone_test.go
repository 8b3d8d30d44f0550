package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// single is a server without others.
func single() *cluster.Server {
	return cluster.New(cluster.Config{Self: "s1", Life: 1, Members: []cluster.ServerID{"s1"}, Rand: rand.New(rand.NewPCG(1, 1))}, begin)
}

func put(s *cluster.Server, id string, seq uint64, gone bool) {
	r := cluster.Record{Owner: skerry.OwnerID(id), Kind: skerry.LeaseOwner, TTL: time.Minute, Version: skerry.Version{Epoch: 1, Seq: seq}, Gone: gone}
	if !gone {
		r.Set = &skerry.Set{Node: &skerry.Node{Name: id}}
	}
	s.PutLease(begin, r)
	s.Ready()
}

// Without another server no log is kept, and one that comes later gets what was put since.
func TestALogIsKeptForOthersAlone(t *testing.T) {
	s := single()
	for i := range 100 {
		put(s, fmt.Sprint("o", i), 1, false)
	}
	if n := s.Logged(); n != 0 {
		t.Errorf("a server without others keeps %d records", n)
	}
	s.Step(begin, "s2", cluster.Tick{Head: cluster.Pos{Life: 2}})
	before := s.Head()
	put(s, "late", 1, false)
	if n := s.Logged(); n != 1 {
		t.Fatalf("%d records are kept for a server that came, want 1", n)
	}
	for _, tt := range []struct {
		after cluster.Pos
		log   bool
	}{{before, true}, {cluster.Pos{Life: 1, Seq: before.Seq - 1}, false}} {
		s.Ready()
		s.Step(begin, "s2", cluster.Ask{After: tt.after})
		log := false
		for _, e := range s.Ready().Send {
			if m, is := e.Message.(cluster.Log); is && len(m.Records) == 1 && m.Records[0].Owner == "late" {
				log = true
			}
		}
		if log != tt.log {
			t.Errorf("asked for the log after %v: answered with it: %v, want %v", tt.after, log, tt.log)
		}
	}
}

// The memory of owners that ended is bounded, and keeps the last ones.
func TestTheEndedAreBoundedAlone(t *testing.T) {
	s := single()
	const more = 10
	for i := range cluster.MaxEnded + more {
		put(s, fmt.Sprint("o", i), 1, false)
		put(s, fmt.Sprint("o", i), 2, true)
	}
	s.Tick(begin.Add(time.Second))
	for i, want := range map[int]bool{0: false, more - 1: false, more: true, cluster.MaxEnded + more - 1: true} {
		if _, known := s.Record(skerry.OwnerID(fmt.Sprint("o", i))); known != want {
			t.Errorf("owner %d is known: %v, want %v", i, known, want)
		}
	}
}
