package quorum

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

func TestThreeMembersFormOneStore(t *testing.T) {
	began := time.Now()
	stores := openAll(t, peersFor(t, 3)...)
	t.Logf("open after %v", time.Since(began))
	for i, s := range stores {
		if err := put(t, s, fmt.Sprint("from/", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range stores {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := count(s.Snapshot(), "from/"); got != 3 {
			t.Errorf("member %d sees %d of 3 writes", i, got)
		}
		same(t, s)
	}
	for i, s := range stores {
		ms := membersOf(t, s)
		eventually(t, "all are listed with name and connection, one leads", func() bool {
			named, leaders, selves := 0, 0, 0
			for _, m := range ms.List() {
				if m.Name != "" && m.Connected && !m.Learner {
					named++
				}
				if m.Leader {
					leaders++
				}
				if m.Self && m.Name == string(rune('a'+i)) {
					selves++
				}
			}
			return named == 3 && leaders == 1 && selves == 1
		})
		if silent, ok := s.LastContact(); !ok || silent > 5*time.Second {
			t.Errorf("member %d has heard the leader %v ago, known: %v", i, silent, ok)
		}
	}
}

// The writes of two members go on when the third, the leader, dies: each is answered,
// none fails, none is made twice.
func TestTheDeathOfTheLeaderUnderLoad(t *testing.T) {
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	at := leaderOf(t, stores)
	var rest []*Store
	for i, s := range stores {
		if i != at {
			rest = append(rest, s)
		}
	}
	l := loaded(t, 16, rest...)
	eventually(t, "the load is there", func() bool { return l.total() > 500 })
	l.reset()
	before := l.total()
	kill(stores[at])
	eventually(t, "writes go on", func() bool { return l.total() > before+1000 })
	l.check(t, rest[0])
	for i, s := range rest {
		found, repeated := value(s.metrics.found), value(s.metrics.repeated)
		t.Logf("%d: no finished write for %v; of the transactions whose answer was lost, %v were made and %v were made again", i, l.gap[s].Round(time.Millisecond), found, repeated)
	}
	if l.slow > answeredBy {
		t.Errorf("the slowest write took %v", l.slow)
	}
	t.Logf("%d writes; the slowest took %v", l.total(), l.slow.Round(time.Millisecond))
}

// A leader that stops in order hands over, and no write is lost.
func TestAnOrderlyStopHandsOver(t *testing.T) {
	stores := openAll(t, peersFor(t, 3)...)
	at := leaderOf(t, stores)
	other := stores[(at+1)%3]
	l := loaded(t, 8, other)
	eventually(t, "the load is there", func() bool { return l.total() > 200 })
	l.reset()
	changed := membersOf(t, other).LeaderChanged()
	term := other.member.etcd.Server.Term()
	if err := stores[at].Close(); err != nil {
		t.Fatal(err)
	}
	<-changed
	before := l.total()
	eventually(t, "writes go on", func() bool { return l.total() > before+200 })
	l.check(t, other)
	if got := other.member.etcd.Server.Term(); got != term+1 {
		t.Errorf("the term went from %d to %d: it was no handover", term, got)
	}
	t.Logf("no finished write for %v", l.gap[other].Round(time.Millisecond))
}

// Today's member becomes one of three, then of five, and three are left: all keys are
// there at each step.
func TestAMemberAloneGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	const n = 2000
	first := peerFor(t, "a")
	alone := open(t, Embedded{Dir: first.Dir})
	fillKeys(t, alone, "k/", n)
	if _, err := membersOf(t, alone).AddLearner(t.Context(), "http://127.0.0.1:1"); err == nil {
		t.Error("a member without a listener took another")
	}
	alone.Close()

	stores := openAll(t, first)
	hasKeys(t, stores[0], "k/", n)
	ms := membersOf(t, stores[0])
	if _, err := ms.AddLearner(t.Context(), "http://127.0.0.1:1"); err == nil {
		t.Error("a member without a peer URL took another")
	}
	if err := ms.SetPeerURL(t.Context(), first.Peers.Advertise); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c", "d", "e"} {
		s := grow(t, stores[0], peerFor(t, name))
		stores = append(stores, s)
		fillKeys(t, s, "from/"+name+"/", 100)
		hasKeys(t, s, "k/", n)
		hasKeys(t, stores[0], "from/"+name+"/", 100)
	}
	for _, s := range stores[:2] {
		self := s.member.id()
		if err := membersOf(t, stores[4]).Remove(t.Context(), self); err != nil {
			t.Fatal(err)
		}
		select {
		case <-membersOf(t, s).Stopped():
		case <-time.After(time.Minute):
			t.Fatal("a removed member goes on")
		}
		kill(s)
	}
	list := membersOf(t, stores[4]).List()
	if len(list) != 3 {
		t.Errorf("left: %+v", list)
	}
	for _, s := range stores[2:] {
		hasKeys(t, s, "k/", n)
		if err := put(t, s, "after", nil); err != nil {
			t.Error(err)
		}
	}
}

// grow makes a new member one with a vote.
func grow(t *testing.T, by *Store, cfg Embedded) *Store {
	t.Helper()
	ms, began := membersOf(t, by), time.Now()
	list, err := ms.AddLearner(t.Context(), cfg.Peers.Advertise)
	if err != nil {
		t.Fatal(err)
	}
	added := time.Since(began)
	cfg.Peers.Join, cfg.Peers.Members = true, JoinList(list, cfg.Peers)
	began = time.Now()
	s := openAll(t, cfg)[0]
	up := time.Since(began)
	// A learner reads and writes as any other.
	if err := put(t, s, "learner/"+cfg.Peers.Name, nil); err != nil {
		t.Fatalf("a learner's write: %v", err)
	}
	promoted := func() bool {
		err := ms.Promote(t.Context(), s.member.id())
		if err != nil && skerry.KindOf(err) != skerry.Conflict {
			t.Fatal(err)
		}
		return err == nil
	}
	eventually(t, "the learner is in sync", promoted)
	t.Logf("%s: added after %v, up after %v, promoted after %v", cfg.Peers.Name, added.Round(time.Millisecond), up.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	return s
}

// A large change whose process ended in the middle is undone by the others: their writes
// do not wait for its return, also while readers ask for the newest all the time.
func TestALargeChangeOfAMemberThatDied(t *testing.T) {
	t.Parallel()
	stores := openAll(t, peersFor(t, 3)...)
	at := leaderOf(t, stores)
	g, o := stores[at].freeze(t.Context())
	if g == nil {
		t.Fatal(o.err)
	}
	if err := stores[at].stage(t.Context(), g, &replica.Commit{Puts: []replica.Put{{Key: "large", Value: []byte("x")}}}); err != nil {
		t.Fatal(err)
	}
	kill(stores[at])
	other := stores[(at+1)%3]
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	reader.Go(func() {
		for ctx.Err() == nil {
			_ = other.Sync(ctx)
		}
	})
	if err := increment(ctx, other, "k"); err != nil {
		t.Fatalf("a write after %v: %v", time.Since(began), err)
	}
	if g := other.generation.Load(); g.Steps != "" {
		t.Errorf("the steps are left: %+v", g)
	}
	t.Logf("written after %v", time.Since(began))
}

// Nothing of a store is left when it is closed, whatever was in flight.
func TestAClosedStoreLeavesNothingBehind(t *testing.T) {
	stores := openAll(t, peersFor(t, 3)...)
	var all sync.WaitGroup
	for _, s := range stores {
		for i := range 8 {
			all.Go(func() {
				for put(t, s, fmt.Sprint("k/", i), nil) == nil {
				}
			})
		}
	}
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	began := time.Now()
	all.Wait()
	t.Logf("writers had their errors %v after the stores were closed", time.Since(began))
	var left []string
	t.Cleanup(func() {
		for _, stack := range left {
			t.Log(stack)
		}
	})
	eventually(t, "no goroutine is left", func() bool {
		buf := make([]byte, 4<<20)
		left = nil
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "skerry/quorum.") && !strings.Contains(stack, "testing.tRunner") || strings.Contains(stack, "etcdserver.") {
				left = append(left, stack)
			}
		}
		return len(left) == 0
	})
}

// A leader can remove itself: another one leads, and its own store stops.
func TestALeaderRemovesItself(t *testing.T) {
	t.Parallel()
	stores := openAll(t, peersFor(t, 3)...)
	at := leaderOf(t, stores)
	if err := membersOf(t, stores[(at+1)%3]).TransferLeadership(t.Context(), ""); !errors.Is(err, ErrNotLeader) {
		t.Errorf("leadership was handed over by a follower: %v", err)
	}
	ms := membersOf(t, stores[at])
	if err := ms.Remove(t.Context(), stores[at].member.id()); err != nil {
		t.Fatal(err)
	}
	<-ms.Stopped()
	if err := ms.Err(); !errors.Is(err, ErrRemoved) {
		t.Errorf("it stopped with %v", err)
	}
	if err := put(t, stores[at], "x", nil); !errors.Is(err, ErrRemoved) || skerry.KindOf(err) != skerry.Unavailable {
		t.Errorf("its writes are answered with %v", err)
	}
	if err := stores[at].Close(); err != nil {
		t.Error(err)
	}
	rest := stores[(at+1)%3]
	if err := put(t, rest, "k", nil); err != nil {
		t.Error(err)
	}
	if list := membersOf(t, rest).List(); len(list) != 2 {
		t.Errorf("members: %+v", list)
	}
}
