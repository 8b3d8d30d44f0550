package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/registry"
)

// world is three servers and their clock.
type world struct {
	*testing.T
	*network
	now time.Time
	cfg catalog.Config
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	w.cfg = catalog.Config{Now: func() time.Time { return w.now }, After: func(_ time.Duration, f func()) { go f() }}
	w.network = form(w.cfg, w.advance)
	return w
}

func (w *world) advance(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) pass(d time.Duration) { w.run(d, w.advance) }

const ttl = 6 * time.Second

// lease is a lease of one instance.
func lease(id string, seq uint64) skerry.Announcement {
	set := &skerry.Set{Node: &skerry.Node{Name: id, Address: "192.0.2.1"}, Instances: []*skerry.Instance{{ID: id, Service: "web", Port: int(seq)}}}
	return skerry.Announcement{
		Owner: skerry.OwnerID("lease/" + id), Kind: skerry.LeaseOwner, TTL: ttl,
		Version: skerry.Version{Epoch: 1, Seq: seq}, Set: set, Digest: set.Digest(),
	}
}

func (w *world) announce(at int, a skerry.Announcement) {
	w.Helper()
	if out, err := w.servers[at].Announce(a); err != nil || out != skerry.Applied {
		w.Fatalf("%s at server %d: %v %v", a.Owner, at, out, err)
	}
}

// shows checks what servers show of the service: instance:port.
func (w *world) shows(want string, servers ...int) {
	w.Helper()
	if servers == nil {
		servers = []int{0, 1, 2}
	}
	for _, at := range servers {
		var got []string
		for _, e := range w.servers[at].table.Service("web").Entries {
			got = append(got, fmt.Sprint(e.Instance.ID, ":", e.Instance.Port))
		}
		if strings.Join(got, " ") != want {
			w.Errorf("server %d shows %q, want %q", at, got, want)
		}
	}
}

// part cuts a server off.
func (w *world) part(at int) {
	for _, s := range w.servers {
		w.cut[[2]cluster.ServerID{s.id, w.servers[at].id}] = true
		w.cut[[2]cluster.ServerID{w.servers[at].id, s.id}] = true
	}
}

func (w *world) heal() { clear(w.cut) }

// A lease that is put through one server is shown by all; its beats may land anywhere.
func TestALeaseThroughABalancer(t *testing.T) {
	w := newWorld(t)
	a := lease("a", 1)
	w.announce(0, a)
	w.pump()
	w.shows("a:1")
	for i := range 20 {
		w.pass(ttl / 3)
		if out := w.servers[i%3].Beat(a.Owner, a.Digest); out != skerry.Unchanged {
			t.Fatalf("beat %d is answered %v", i, out)
		}
	}
	w.shows("a:1")
	w.announce(1, lease("a", 2))
	w.pump()
	w.shows("a:2")
	if !w.servers[2].Withdraw(a.Owner, skerry.Version{Epoch: 1, Seq: 3}) {
		t.Error("another server does not know the lease")
	}
	w.pump()
	w.shows("")
	if out, _ := w.servers[0].Announce(lease("a", 2)); out != skerry.Stale {
		t.Errorf("an announcement from before the withdrawal is answered %v", out)
	}
}

func TestASilentLeaseIsLostEverywhere(t *testing.T) {
	w := newWorld(t)
	w.announce(0, lease("a", 1))
	w.announce(1, lease("b", 1))
	for range 4 {
		w.servers[2].Beat("lease/b", lease("b", 1).Digest)
		w.pass(ttl / 3)
	}
	w.shows("b:1")
	for _, s := range w.servers {
		if len(s.departed) != 0 {
			t.Errorf("%s was told at once of the departure of %v, which another server may contest", s.id, s.departed)
		}
	}
	for range 3 {
		w.servers[2].Beat("lease/b", lease("b", 1).Digest)
		w.pass(ttl / 3)
	}
	for _, s := range w.servers {
		if len(s.departed) != 1 || s.departed[0] != "lease/a" {
			t.Errorf("%s was told of the departure of %v", s.id, s.departed)
		}
	}
}

// An owner that comes back at once does not leave the disk of its server.
func TestAnOwnerThatComesBackHasNotDeparted(t *testing.T) {
	w := newWorld(t)
	w.announce(0, lease("a", 1))
	w.pass(ttl + time.Second)
	w.shows("")
	w.announce(1, lease("a", 2))
	w.pass(2 * time.Second)
	w.shows("a:2")
	for _, s := range w.servers {
		for range 10 {
			s.Beat("lease/a", lease("a", 2).Digest)
			w.pass(ttl / 3)
		}
		if len(s.departed) != 0 {
			t.Errorf("%s was told of the departure of %v", s.id, s.departed)
		}
	}
}

// The site that is cut off goes on: its services register, change and are found there. It
// takes nothing out; when the network is whole, all servers show the same.
func TestACutOffServer(t *testing.T) {
	w := newWorld(t)
	far, near := lease("far", 1), lease("near", 1)
	w.announce(2, far)
	w.announce(0, near)
	w.pump()
	w.part(2)
	beat := func() {
		for range 15 {
			w.servers[2].Beat(far.Owner, far.Digest)
			w.servers[0].Beat(near.Owner, near.Digest)
			w.pass(ttl / 3)
		}
	}
	beat()
	w.shows("far:1 near:1", 2)
	w.shows("near:1", 0, 1) // they have not heard it for longer than its TTL and the grace
	far = lease("far", 2)
	w.announce(2, far)
	w.announce(2, lease("new", 1))
	w.shows("far:2 near:1 new:1", 2)
	if _, minority := w.servers[2].Peers(); !minority {
		t.Error("the server does not know that it is in a minority")
	}
	w.heal()
	w.pass(3 * time.Second)
	w.shows("far:2 near:1 new:1")
	if peers, minority := w.servers[2].Peers(); minority || len(peers) != 2 || !peers[0].Up || !peers[1].Up {
		t.Errorf("after healing: %v, minority %v", peers, minority)
	}
}

// A server that starts again gets the catalog from the others.
func TestAServerComesBack(t *testing.T) {
	w := newWorld(t)
	var all []string
	for i := range 40 {
		id := fmt.Sprintf("l%02d", i)
		w.announce(i%3, lease(id, 1))
		all = append(all, id+":1")
	}
	w.pump()
	w.part(1)
	w.pass(time.Second)
	w.servers = append(w.servers[:1:1], w.servers[2:]...)
	w.announce(0, lease("l00", 2))
	all[0] = "l00:2"
	w.heal()
	back := newServer("s2", 3, w.cfg)
	w.join(back)
	if err := back.Restore(lease("l00", 1)); err != nil { // its disk has an older set
		t.Fatal(err)
	}
	w.pass(2 * time.Second)
	w.shows(strings.Join(all, " "), 0, 1, 2)
}

// Frames that are not understood change nothing.
func TestReceiveSkipsWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	for _, frame := range []string{"", "tick", "new-kind {}", "log {", `log {"Records":[{"Owner":"x","Set":{}}]}`, `log {"Records":[{"Owner":"x","TTL":-1}]}`} {
		w.servers[0].Receive("s2", []byte(frame))
	}
	if _, _, ok := w.servers[0].Known("x"); ok {
		t.Error("a record that the catalog cannot show was taken")
	}
	w.servers[0].Receive("s2", []byte(`log {"A new field":1,"First":{"Life":1,"Seq":1},"Records":[{"Owner":"x","Version":{"epoch":1,"seq":1},"New":[]}]}`))
}

func FuzzReceive(f *testing.F) {
	for _, m := range []cluster.Message{
		cluster.Tick{Head: cluster.Pos{Life: 1, Seq: 2}, Hears: []cluster.ServerID{"s1"}, Seen: map[cluster.ServerID]cluster.Pos{"s1": {}}},
		cluster.Log{First: cluster.Pos{Life: 1, Seq: 1}, Records: []cluster.Record{{
			Owner: "o", Kind: skerry.LeaseOwner, TTL: ttl, Version: skerry.Version{Epoch: 1, Seq: 1},
			Stand: cluster.Stand{Epoch: 1, Attach: 1, State: cluster.Live, Home: "s2"}, Set: lease("a", 1).Set,
		}}},
		cluster.Ask{After: cluster.Pos{Life: 1, Seq: 1}}, cluster.Sums{Buckets: make([]uint64, 3)}, cluster.Want{Buckets: []int{1, 2}},
		cluster.Owned{Records: []cluster.Record{{Owner: "o"}}}, cluster.Fetch{Owners: []skerry.OwnerID{"o"}},
		cluster.Fetched{Part: 1, Parts: 3}, cluster.Heard{Owners: []skerry.OwnerID{"o"}}, cluster.HeardOK{Owners: []skerry.OwnerID{"o"}},
		cluster.Release{Owners: []skerry.OwnerID{"o"}},
	} {
		frame, err := registry.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, frame []byte) {
		n := form(catalog.Config{Now: func() time.Time { return now }}, func(time.Duration) {})
		n.servers[0].Receive("s2", frame)
		n.run(time.Second, func(d time.Duration) { now = now.Add(d) })
	})
}

// A server is ready once it has the catalog of the others, and not before.
func TestReady(t *testing.T) {
	w := newWorld(t)
	w.announce(0, lease("a", 1))
	w.pass(time.Second)
	for _, s := range w.servers {
		if err := s.Ready(); err != nil {
			t.Errorf("%s: %v", s.id, err)
		}
	}
	late := newServer("s4", 3, w.cfg)
	if err := late.Ready(); err == nil || !strings.Contains(err.Error(), "no majority of the servers: 1 of 3") {
		t.Errorf("a server that hears none: %v", err)
	}
	w.join(late)
	for range 100 {
		ready := late.Ready() == nil
		if shown := late.table.Service("web").Entries; ready && len(shown) == 0 {
			t.Fatal("it is ready without the catalog of the others")
		}
		if ready {
			return
		}
		w.pass(registry.TickEvery)
	}
	t.Errorf("it is not ready after 10 s: %v", late.Ready())
}

// An owner that falls silent a moment after others is held with them, also at another home.
func TestTheGuardHoldsThoseThatFallSilentLater(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.announce(i/4, lease(fmt.Sprint("l", i), 1))
		if i > 1 {
			w.pass(300 * time.Millisecond)
		}
	}
	w.pass(2 * ttl)
	for _, s := range w.servers {
		if s.Held() != 5 {
			t.Errorf("%s holds %d owners", s.id, s.Held())
		}
	}
	w.shows("l0:1 l1:1 l2:1 l3:1 l4:1")
}

// Owners that fall silent together are held together, although each server hears a few of them alone and at other moments.
func TestTheGuardCountsTheSilentOfAllServers(t *testing.T) {
	const each = 2
	w := newWorld(t)
	n := each * len(w.servers)
	for i := range n {
		w.announce(i%len(w.servers), lease(fmt.Sprint("l", i), 1))
		w.pass(ttl / 3 / time.Duration(n))
	}
	w.pass(2 * ttl)
	for _, s := range w.servers {
		if s.Held() != n {
			t.Errorf("%s holds %d owners of %d", s.id, s.Held(), n)
		}
	}
}

// A server that does not answer holds up no loss for long.
func TestALossDoesNotWaitForAServer(t *testing.T) {
	w := newWorld(t)
	w.announce(0, lease("l0", 1))
	w.announce(1, lease("l1", 1))
	for range int(ttl/registry.TickEvery) - 1 {
		w.pass(registry.TickEvery)
		w.servers[1].Beat("lease/l1", lease("l1", 1).Digest)
	}
	w.part(2) // it counts as up for 2 s more
	w.pass(time.Second)
	w.shows("l1:1", 0, 1)
}

// A server that was just cut off does not know it yet. It loses no owner: no majority answers it.
func TestALossNeedsAnAnsweringMajority(t *testing.T) {
	w := newWorld(t)
	w.announce(0, lease("l0", 1))
	w.pass(ttl - registry.TickEvery)
	w.part(0)
	for range int(4 * time.Second / registry.TickEvery) {
		w.pass(registry.TickEvery)
		w.servers[1].Beat("lease/l0", lease("l0", 1).Digest)
		w.shows("l0:1")
	}
	w.heal()
	w.pass(5 * time.Second)
	w.shows("l0:1")
}

// Owners that the guard holds are given up by any server, whichever their home is: by the
// home if it is there, else by the server that was asked.
func TestRelease(t *testing.T) {
	only := func(ids ...skerry.OwnerID) func(skerry.OwnerID) bool {
		return func(id skerry.OwnerID) bool { return slices.Contains(ids, id) }
	}
	start := func(t *testing.T) *world {
		w := newWorld(t)
		for i := range 4 {
			w.announce(0, lease(fmt.Sprint("l", i), 1))
		}
		w.pass(2 * ttl)
		for _, s := range w.servers {
			if s.Held() != 4 {
				t.Fatalf("%s holds %d owners", s.id, s.Held())
			}
		}
		return w
	}
	t.Run("by the home", func(t *testing.T) {
		w := start(t)
		two := only("lease/l0", "lease/l2")
		lost, left := w.servers[1].Release(two)
		if lost != nil || !slices.Equal(left, []skerry.OwnerID{"lease/l0", "lease/l2"}) {
			t.Errorf("lost %v, left %v", lost, left)
		}
		w.pump()
		w.shows("l1:1 l3:1")
		if lost, left = w.servers[1].Release(two); lost != nil || left != nil || w.servers[1].Shows("lease/l0") || !w.servers[1].Shows("lease/l1") {
			t.Errorf("again: lost %v, left %v", lost, left)
		}
		w.servers[2].Beat("lease/l1", lease("l1", 1).Digest)
		w.pass(time.Second)
		w.servers[2].Release(func(skerry.OwnerID) bool { return true })
		w.pump()
		w.shows("l1:1")
	})
	t.Run("without the home", func(t *testing.T) {
		w := start(t)
		w.part(0)
		w.pass(3 * time.Second)
		if lost, left := w.servers[1].Release(only("lease/l3")); left != nil || !slices.Equal(lost, []skerry.OwnerID{"lease/l3"}) {
			t.Errorf("lost %v, left %v", lost, left)
		}
		w.pump()
		w.shows("l0:1 l1:1 l2:1", 1, 2)
		w.heal()
		w.pass(3 * time.Second)
		w.shows("l0:1 l1:1 l2:1")
	})
	t.Run("not in a minority", func(t *testing.T) {
		w := start(t)
		w.part(1)
		w.pass(3 * time.Second)
		if lost, left := w.servers[1].Release(only("lease/l3")); lost != nil || len(left) != 1 {
			t.Errorf("lost %v, left %v", lost, left)
		}
		w.shows("l0:1 l1:1 l2:1 l3:1")
	})
}
