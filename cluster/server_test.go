package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

func TestAServerThatIsNoMemberHasNoVote(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b")
	f.start(cluster.New, "0", "a", "b") // the lowest name, and in no list
	f.pass(15 * time.Second)
	f.servers["0"].PutLease(f.now, lease("o"))
	f.pass(time.Second)
	for _, id := range f.ids() {
		if !f.shows(id, "o") || f.servers[id].Minority() {
			t.Errorf("%s shows the owner %v, in a minority %v", id, f.shows(id, "o"), f.servers[id].Minority())
		}
	}
	f.part("a")
	f.pass(3 * time.Second)
	if !f.servers["a"].Minority() || !f.servers["b"].Minority() || !f.servers["0"].Minority() {
		t.Error("a server without a vote makes a majority")
	}
	f.part("0")
	f.pass(20 * time.Second)
	if s := f.servers["b"].Stand("o"); s.State != cluster.Lost || s.By != "a" {
		t.Errorf("its orphan is at %+v", s)
	}
	if f.pass(time.Minute); slices.Contains(f.servers["a"].Known(), "0") {
		t.Error("it is not forgotten")
	}
	f.part()
	f.pass(2*time.Second, func() { f.servers["0"].BeatLease(f.now, "o", 1) })
	if !f.shows("a", "o") {
		t.Error("it returns, and its owner is not shown")
	}
}

func TestSetMembersChangesTheMajority(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c")
	f.part("a")
	f.pass(3 * time.Second)
	a := f.servers["a"]
	if !a.Minority() {
		t.Fatal("a alone is in a majority of three")
	}
	if !a.Attach(f.now, cluster.Attach{Owner: "new", Kind: skerry.AgentOwner, TTL: time.Second, Version: v1, Attach: 1}).Minority {
		t.Error("a does not tell an owner that attaches that it hears no majority")
	}
	a.SetMembers(f.now, []cluster.ServerID{"a"}, 0)
	if a.Minority() {
		t.Error("a is in a minority of one")
	}
	a.SetMembers(f.now, []cluster.ServerID{"a"}, 3)
	if !a.Minority() {
		t.Error("a is in a majority of the three that are expected")
	}
	a.SetMembers(f.now, []cluster.ServerID{"b"}, 1)
	if !a.Minority() {
		t.Error("a, no member, is in a majority without one")
	}
}

// The positions that a repair stands for are taken when all parts of its answer came.
func TestAMissingPartTakesNoPosition(t *testing.T) {
	play := func(parts ...int) cluster.Pos {
		f := newFew(t, cluster.New, "a", "b")
		a, head := f.servers["a"], cluster.Pos{Life: 1 << 60, Seq: 5}
		a.PutLease(f.now, lease("mine")) // so that a bucket differs
		a.Ready()
		f.now = f.now.Add(2 * time.Second)
		a.Step(f.now, "b", cluster.Sums{Buckets: make([]uint64, 4096), Seen: map[cluster.ServerID]cluster.Pos{"b": head}})
		var repair uint64
		for _, e := range a.Ready().Send {
			if w, is := e.Message.(cluster.Want); is {
				repair = w.Repair
			}
		}
		if repair == 0 {
			t.Fatal("nothing is wanted")
		}
		a.Step(f.now, "b", cluster.Owned{Records: []cluster.Record{live("x"), live("y")}, Repair: repair})
		for _, n := range parts {
			a.Step(f.now, "b", cluster.Fetched{Records: []cluster.Record{live(skerry.OwnerID("xyz"[n : n+1]))}, Repair: repair, Part: n, Parts: 3})
		}
		return a.Pos("b")
	}
	if at := play(0, 1, 2); at.Seq != 5 {
		t.Errorf("all parts: %v", at)
	}
	for _, parts := range [][]int{{0, 1}, {0, 2}, {1, 2}, {0, 0, 1, 2}} {
		if at := play(parts...); at.Life == 1<<60 {
			t.Errorf("parts %v: %v", parts, at)
		}
	}
}

func live(id skerry.OwnerID) cluster.Record {
	r := lease(id)
	r.Stand = cluster.Stand{Epoch: 1, Attach: 1, State: cluster.Live, Home: "b", By: "b"}
	return r
}

func TestRestoreGivesWay(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b")
	f.servers["a"].PutLease(f.now, lease("lost"))
	f.servers["a"].PutLease(f.now, lease("newer"))
	f.pass(time.Second)
	newer := lease("newer")
	newer.Version.Seq = 2
	beat := func() { f.servers["b"].PutLease(f.now, newer) }
	f.pass(10*time.Second, beat)
	f.start(cluster.New, "a", "a", "b")
	a := f.servers["a"]
	for _, id := range []skerry.OwnerID{"lost", "newer", "alone"} {
		a.Restore(f.now, lease(id))
		if v, shown := a.Shows(id); !shown || v != v1 {
			t.Errorf("%s is shown %v at %v", id, shown, v)
		}
	}
	f.pass(2*time.Second, beat)
	if f.shows("a", "lost") || f.servers["b"].Stand("lost").State != cluster.Lost {
		t.Error("what was lost is back")
	}
	if v, shown := a.Shows("newer"); !shown || v != newer.Version {
		t.Errorf("the newer set is shown %v at %v", shown, v)
	}
	if !f.shows("b", "alone") || f.servers["b"].Stand("alone").Home != "a" {
		t.Errorf("what no other server knew is at %+v", f.servers["b"].Stand("alone"))
	}
	a.Restore(f.now, lease("newer"))
	if v, _ := a.Shows("newer"); v != newer.Version {
		t.Errorf("a newer set was overwritten by %v", v)
	}
}

func TestPeersOfAnotherProtocolAreRefused(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b")
	f.start(cluster.New, "c", "a", "b", "c")
	f.servers["c"].Speak(3, 4)
	f.servers["a"].Speak(1, 3)
	f.servers["c"].PutLease(f.now, lease("o"))
	f.pass(5 * time.Second)
	want := cluster.Refused{Peer: "c", Ours: cluster.Range{Min: 1, Max: 2}, Theirs: cluster.Range{Min: 3, Max: 4}}
	n := 0
	for _, r := range f.refused {
		if r == want {
			n++
		}
	}
	if n != 1 {
		t.Errorf("b refuses %d times: %+v", n, f.refused)
	}
	if f.servers["b"].Up("c") || !f.servers["a"].Up("c") {
		t.Errorf("c is up at b %v, at a %v", f.servers["b"].Up("c"), f.servers["a"].Up("c"))
	}
}

// A server of three that knows one other yet is not whole when it has compared itself with
// that one: the third may know more.
func TestAServerIsNotWholeBeforeAllAreCompared(t *testing.T) {
	f := newFew(t, func(cfg cluster.Config, now time.Time) *cluster.Server {
		cfg.Of = 3
		return cluster.New(cfg, now)
	}, "a", "b")
	for _, id := range []cluster.ServerID{"a", "b"} {
		if !f.servers[id].Compared() || f.servers[id].Whole() {
			t.Errorf("%s: compared %v, whole %v", id, f.servers[id].Compared(), f.servers[id].Whole())
		}
	}
}

// A newcomer that copies for long is not whole before it has all.
func TestAServerIsNotWholeWhileItCopies(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b")
	f.start(cluster.New, "c", "a", "b", "c")
	c, parts := f.servers["c"], 15
	tick := func() {
		for _, id := range []cluster.ServerID{"a", "b"} {
			c.Step(f.now, id, cluster.Tick{Head: cluster.Pos{Life: 1}, Hears: []cluster.ServerID{"a", "b", "c"}})
		}
		c.Tick(f.now)
	}
	tick()
	c.Step(f.now, "a", cluster.Sums{Buckets: slices.Repeat([]uint64{1}, 4096), Seen: map[cluster.ServerID]cluster.Pos{}})
	c.Step(f.now, "b", cluster.Sums{Buckets: slices.Repeat([]uint64{1}, 4096), Seen: map[cluster.ServerID]cluster.Pos{}})
	var repairs []uint64
	for _, e := range c.Ready().Send {
		if w, is := e.Message.(cluster.Want); is {
			repairs = append(repairs, w.Repair)
		}
	}
	if len(repairs) != 1 {
		t.Fatalf("%d repairs begin, want one: the other would send the same", len(repairs))
	}
	for n := range parts {
		if c.Whole() {
			t.Fatalf("c is whole after %d of %d parts", n, parts)
		}
		c.Step(f.now, "a", cluster.Fetched{Records: []cluster.Record{live(skerry.OwnerID(fmt.Sprint("o", n)))}, Repair: repairs[0], Part: n, Parts: parts})
		f.now = f.now.Add(900 * time.Millisecond)
		tick()
	}
	if !c.Whole() {
		t.Error("c is not whole after all parts")
	}
}

// Two clusters that meet refuse each other; a server that knows no cluster yet is taken.
func TestServersOfAnotherClusterAreRefused(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c", "d")
	f.servers["a"].SetCluster("1/a")
	f.servers["b"].SetCluster("1/a")
	f.servers["c"].SetCluster("7/c")
	f.pass(5 * time.Second)
	for _, pair := range [][2]cluster.ServerID{{"a", "b"}, {"a", "d"}, {"d", "c"}} {
		if !f.servers[pair[0]].Up(pair[1]) {
			t.Errorf("%v are cut", pair)
		}
	}
	if f.servers["a"].Up("c") || f.servers["c"].Up("a") {
		t.Error("a and c, of two clusters, are up with each other")
	}
	n := 0
	for _, r := range f.refused {
		if r.Peer == "c" && r.Cluster == "1/a" && r.TheirCluster == "7/c" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("a and b refuse c %d times: %+v", n, f.refused)
	}
	f.servers["c"].SetCluster("1/a")
	f.pass(5 * time.Second)
	if !f.servers["a"].Up("c") {
		t.Error("c is refused after it became one of the same cluster")
	}
}

// Records that come before the tick that tells a server's cluster and protocol are not taken, also
// after a restart of that server.
func TestRecordsWaitForATick(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b")
	a := f.servers["a"]
	a.SetCluster("1/a")
	taken := func(m cluster.Message, owner skerry.OwnerID) bool {
		a.Step(f.now, "c", m)
		_, known := a.Record(owner)
		return known
	}
	sends := func(life cluster.Life, owner skerry.OwnerID) bool {
		return taken(cluster.Log{First: cluster.Pos{Life: life, Seq: 1}, Records: []cluster.Record{live(owner)}}, owner)
	}
	fetched := func(owner skerry.OwnerID) bool {
		return taken(cluster.Fetched{Records: []cluster.Record{live(owner)}}, owner)
	}
	if sends(1, "stranger's") || fetched("stranger's") {
		t.Error("a server was not heard, and its records are taken")
	}
	a.Step(f.now, "c", cluster.Tick{Head: cluster.Pos{Life: 1}, Cluster: "1/a"})
	if !sends(1, "friend's") {
		t.Error("a server of the same cluster was heard, and its records are not taken")
	}
	if sends(2, "restarted's") {
		t.Error("a server was not heard since it started again, and its records are taken")
	}
	a.Step(f.now, "c", cluster.Tick{Head: cluster.Pos{Life: 2}, Cluster: "2/c"})
	if sends(2, "foreign") {
		t.Error("records of another cluster are taken")
	}
}

// What ended is forgotten after a day, by all, and nothing brings it back.
func TestTheDeadAreForgotten(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c")
	f.servers["a"].PutLease(f.now, lease("lost"))
	gone := lease("gone")
	f.servers["a"].PutLease(f.now, gone)
	f.pass(time.Second)
	old, _ := f.servers["b"].Record("gone")
	old.Set = aSet
	gone.Gone, gone.Set, gone.Version.Seq = true, nil, 2
	f.servers["b"].PutLease(f.now, gone)
	f.pass(10 * time.Second)
	tomb, _ := f.servers["c"].Record("gone")
	if !tomb.Gone || tomb.Ended == 0 || f.servers["c"].Stand("lost").State != cluster.Lost {
		t.Fatalf("%+v, %+v", tomb, f.servers["c"].Stand("lost"))
	}
	f.servers["c"].Step(f.now, "b", cluster.Fetched{Records: []cluster.Record{old}})
	if f.shows("c", "gone") {
		t.Error("an old record shows a withdrawn owner")
	}
	f.days(26)
	for id, s := range f.servers {
		for _, o := range []skerry.OwnerID{"gone", "lost"} {
			if r, known := s.Record(o); known {
				t.Errorf("%s knows %+v", id, r)
			}
		}
		if s.Sum() != 0 {
			t.Errorf("%s has the sum %d", id, s.Sum())
		}
	}
	f.servers["a"].Step(f.now, "c", cluster.Fetched{Records: []cluster.Record{tomb}})
	if _, known := f.servers["a"].Record("gone"); known {
		t.Error("an old withdrawal is taken")
	}
}

// What was withdrawn in a minority is news to the others when that ends, and is remembered from
// then on: a server that is away soon could not learn of it before.
func TestAWithdrawalInAMinorityIsRememberedFromItsEnd(t *testing.T) {
	f := newFew(t, cluster.New, "a", "b", "c")
	f.servers["a"].PutLease(f.now, lease("gone"))
	f.pass(time.Second)
	f.part("a")
	f.pass(4 * time.Second)
	gone := lease("gone")
	gone.Gone, gone.Set, gone.Version.Seq = true, nil, 2
	f.servers["a"].PutLease(f.now, gone)
	f.days(4)
	ends := f.now.UnixMilli()
	f.part()
	f.pass(5 * time.Second)
	for id, s := range f.servers {
		if r, known := s.Record("gone"); !known || !r.Gone || r.Ended < ends {
			t.Errorf("%s has %+v, and the minority ended at %d", id, r, ends)
		}
	}
}

// days lets hours pass quickly: the clocks step by less than what is a stall.
func (f *few) days(hours int) {
	for end := f.now.Add(time.Duration(hours) * time.Hour); f.now.Before(end); {
		f.now = f.now.Add(500 * time.Millisecond)
		for _, id := range f.ids() {
			f.servers[id].Tick(f.now)
		}
		for f.deliver() {
		}
	}
}
