package registry_test

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry/cluster"
)

func settled(s *server) bool {
	select {
	case <-s.Settled():
		return true
	default:
		return false
	}
}

// A server that starts among others has what they know when it says that it is settled; it
// does not wait for others that do not come.
func TestSettled(t *testing.T) {
	w := newWorld(t)
	for _, s := range w.servers {
		if !settled(s) {
			t.Errorf("%s is not settled", s.id)
		}
	}
	w.announce(0, lease("a", 1))
	w.pass(time.Second)
	s4 := newServer("s4", 2, w.cfg)
	w.join(s4)
	for range 100 {
		if settled(s4) {
			break
		}
		w.pass(100 * time.Millisecond)
	}
	if n := len(s4.table.Service("web").Entries); !settled(s4) || n != 1 {
		t.Errorf("settled: %v, with %d instances", settled(s4), n)
	}

	began := w.now
	alone := newServer("alone", 3, w.cfg)
	n := &network{servers: []*server{alone}}
	for !settled(alone) && w.now.Sub(began) < time.Minute {
		n.run(100*time.Millisecond, w.advance)
	}
	if took := w.now.Sub(began); took < 9*time.Second || took > 11*time.Second {
		t.Errorf("alone it is settled after %v", took)
	}
}

// A majority is counted over those with a vote, once they are known, and shrinks with them.
func TestMajorityOfThoseWithAVote(t *testing.T) {
	w := newWorld(t)
	minority := func(at int) bool { _, m := w.servers[at].Peers(); return m }
	all := []cluster.ServerID{"s1", "s2", "s3"}
	for _, s := range w.servers {
		s.SetMembers(append(all, "s4", "s5"), 5)
	}
	w.cut[[2]cluster.ServerID{"s3", "s1"}], w.cut[[2]cluster.ServerID{"s3", "s2"}] = true, true
	w.pass(4 * time.Second)
	if !minority(0) || !minority(2) {
		t.Error("two of five are a majority")
	}
	for _, s := range w.servers {
		s.SetMembers(all, 3)
	}
	if minority(0) || !minority(2) {
		t.Errorf("of three: two are in a minority: %v, one: %v", minority(0), minority(2))
	}
	w.servers[0].SetMembers(all[1:], 2)
	if !minority(0) {
		t.Error("a server without a vote counts itself")
	}
}
