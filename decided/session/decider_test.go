package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/quorum/replica"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// world is a store of sessions and keys, on a catalog with one node, in fake time.
type world struct {
	t     *testing.T
	kv    *replicatest.Memory
	table *catalog.Table
	store *Store
	keys  *kv.Store
	seq   uint64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, kv: replicatest.NewMemory(), table: catalog.New(catalog.Config{FirstIndex: 1})}
	w.open(w.kv)
	return w
}

// open makes the parts anew, on a store.
func (w *world) open(store skerry.KV) {
	w.store = New(Options{KV: store, Catalog: w.table})
	w.keys = kv.New(kv.Options{KV: store})
}

// decider returns a decider of this name. It does not run.
func (w *world) decider(name string) *Decider {
	return NewDecider(DeciderOptions{Sessions: w.store, Self: name})
}

// start runs a decider until stop is called.
func (w *world) start(d *Decider) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// inWorld runs f in a bubble of fake time, with deciders of these names.
func inWorld(t *testing.T, deciders []string, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		for _, name := range deciders {
			d := w.decider(name)
			go func() { d.Run(ctx); done <- struct{}{} }()
		}
		w.node("n1", skerry.Passing)
		synctest.Wait()
		f(w)
		cancel()
		for range deciders {
			<-done
		}
	})
}

// node announces a node with its serfHealth check and a check "c" of this status.
func (w *world) node(name string, status skerry.Health) {
	w.t.Helper()
	w.seq++
	_, err := w.table.Announce(skerry.Announcement{
		Owner: skerry.OwnerID("agent/" + name), Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: w.seq},
		Set: &skerry.Set{
			Node: &skerry.Node{Name: name, Address: "10.0.0.1"},
			Checks: []*skerry.Check{
				{ID: "c", Name: "c", Status: status},
				{ID: "serfHealth", Name: "serf", Status: skerry.Passing},
			},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) session(s skerry.Session) string {
	w.t.Helper()
	if s.Node == "" {
		s.Node = "n1"
	}
	id, err := w.store.CreateSession(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) lock(key, session string) bool {
	w.t.Helper()
	done, err := w.keys.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: key, Session: session}})
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) lives(id string) bool {
	s, err := w.store.Session(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s != nil
}

func (w *world) holder(key string) string {
	e, err := w.keys.Get(key)
	if err != nil {
		w.t.Fatal(err)
	}
	if e == nil {
		return "-"
	}
	return e.Session
}

// pass lets time pass, and lets all goroutines do what is due.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

// Clients of Consul count on twice the TTL: see doc/decided.md, Timings.
func TestASessionEndsWithTwiceItsTTLAndNotBefore(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		id := w.session(skerry.Session{TTLText: "10s", LockDelay: -1})
		if !w.lock("k", id) {
			t.Fatal("the lock was not taken")
		}
		for range 5 {
			w.pass(19 * time.Second)
			if _, err := w.store.RenewSession(w.t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(19900 * time.Millisecond)
		if !w.lives(id) || w.holder("k") != id {
			t.Error("the session ended before twice its TTL")
		}
		w.pass(time.Second)
		if w.lives(id) || w.holder("k") != "" {
			t.Errorf("after twice the TTL: lives %v, holder %q", w.lives(id), w.holder("k"))
		}
		if _, err := w.store.RenewSession(w.t.Context(), id); skerry.KindOf(err) != skerry.NotFound {
			t.Errorf("renewing it: %v", err)
		}
	})
}

func TestALockDelayKeepsEverybodyOut(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		a, b := w.session(skerry.Session{LockDelay: 5 * time.Second}), w.session(skerry.Session{})
		if !w.lock("k", a) || w.lock("k", b) {
			t.Fatal("two hold the lock, or none")
		}
		if err := w.store.DestroySession(w.t.Context(), a); err != nil {
			t.Fatal(err)
		}
		w.pass(4900 * time.Millisecond)
		if w.lock("k", b) {
			t.Error("the lock was taken during the lock-delay")
		}
		w.pass(200 * time.Millisecond)
		if !w.lock("k", b) {
			t.Error("the lock could not be taken after the lock-delay")
		}
		// A clean release has no delay.
		if done, err := w.keys.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyRelease, KeyValue: skerry.KeyValue{Key: "k", Session: b}}); !done || err != nil {
			t.Fatalf("release: %v %v", done, err)
		}
		if !w.lock("k", w.session(skerry.Session{})) {
			t.Error("the lock could not be taken after a clean release")
		}
	})
}

// inTime is how late a session may end whose node or check an agent announces:
// doc/decided.md says so.
const inTime = 99 * time.Millisecond

func TestASessionEndsWithItsChecksAndNode(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		checked := w.session(skerry.Session{NodeChecks: []string{"c"}, Behavior: skerry.DeleteKeys})
		plain := w.session(skerry.Session{})
		w.lock("k", checked)
		w.node("n1", skerry.Warning)
		w.pass(time.Second)
		if !w.lives(checked) {
			t.Error("a warning ended the session")
		}
		w.node("n1", skerry.Critical)
		w.pass(inTime)
		if w.lives(checked) || w.holder("k") != "-" {
			t.Errorf("after the check turned critical: lives %v, holder %q", w.lives(checked), w.holder("k"))
		}
		if !w.lives(plain) {
			t.Error("another session of the node ended too")
		}
		w.table.Withdraw("agent/n1", skerry.Version{Epoch: 1 << 60})
		w.pass(inTime)
		if w.lives(plain) {
			t.Error("the session outlived its node")
		}
	})
}

// A server that has just begun to decide does not know which nodes are only
// late: a session of a node that it never saw is kept for a while.
func TestANodeThatIsLateIsWaitedFor(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.node("late", skerry.Passing)
		late := w.session(skerry.Session{Node: "late"})
		w.table.Withdraw("agent/late", skerry.Version{Epoch: 1 << 60})
		stop := w.start(w.decider("s1"))
		w.pass(knownAfter - time.Second)
		if !w.lives(late) {
			t.Error("the session ended before its node could have come back")
		}
		w.pass(3 * time.Second)
		if w.lives(late) {
			t.Error("the session of a node that never came lives on")
		}
		stop()
	})
}

// A node that dies at the moment at which its server decided no more is gone for the next
// decider, which saw it before.
func TestANodeThatDiesWithItsDecider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.node("n1", skerry.Passing)
		stopOne := w.start(w.decider("s1"))
		stopTwo := w.start(w.decider("s2"))
		defer stopTwo()
		id := w.session(skerry.Session{Node: "n1"})
		w.pass(2 * time.Second)
		w.table.Withdraw("agent/n1", skerry.Version{Epoch: 1 << 60})
		stopOne()
		w.pass(2 * time.Second)
		if w.lives(id) {
			t.Error("the session outlives its node and its decider")
		}
	})
}

func TestOneDecidesAndAnotherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.node("n1", skerry.Passing)
		one, two := w.decider("s1"), w.decider("s2")
		stopOne, stopTwo := w.start(one), w.start(two)
		if !one.Leading() || two.Leading() {
			t.Fatalf("leading: %v %v", one.Leading(), two.Leading())
		}
		stopOne()
		w.pass(time.Second)
		if one.Leading() || !two.Leading() {
			t.Errorf("after the first stopped: %v %v", one.Leading(), two.Leading())
		}
		stopTwo()
	})
}

// A decider that was replaced without knowing it decides nothing.
func TestAReplacedDeciderDecidesNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		old, err := w.decider("s1").elect(w.t.Context())
		if err != nil || old == nil {
			t.Fatalf("elect: %v %v", old, err)
		}
		id := w.session(skerry.Session{})
		s, _ := w.store.Session(id)
		w.pass(2 * termTTL) // the lease is not renewed, and ends
		if next, err := w.decider("s2").elect(w.t.Context()); err != nil || next == nil {
			t.Fatalf("elect: %v %v", next, err)
		}
		if _, err := old.end(w.t.Context(), s); !errors.Is(err, errReplaced) {
			t.Errorf("the replaced one ended a session: %v", err)
		}
		if !w.lives(id) {
			t.Error("the session ended")
		}
	})
}

// limited is a KV whose engine takes so many writes in one change.
type limited struct {
	*replicatest.Memory
	most int
}

func (l limited) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	return l.Memory.Table.Update(ctx, l, change)
}

func (l limited) Commit(ctx context.Context, c *replica.Commit) (uint64, bool, error) {
	if n := len(c.Puts) + len(c.Deletes); n > l.most {
		return 0, false, skerry.Errorf(skerry.Invalid, "%d writes", n)
	}
	return l.Memory.Commit(ctx, c)
}

// A session that holds more than one change can give back does not keep others
// from their end, nor do many lock-delays that end together.
func TestWhatIsTooLargeHoldsUpNobody(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.open(limited{w.kv, 128})
		large := w.session(skerry.Session{TTLText: "10s"})
		for i := range 100 {
			w.lock(fmt.Sprint("large/", i), large)
		}
		var small []string
		for i := range 10 {
			id := w.session(skerry.Session{TTLText: "10s", LockDelay: time.Second})
			for k := range 20 {
				w.lock(fmt.Sprint("small/", i, "/", k), id)
			}
			small = append(small, id)
		}
		stop := w.start(w.decider("s1"))
		defer stop()
		w.pass(22 * time.Second)
		for _, id := range small {
			if w.lives(id) {
				t.Error("a small session lives")
			}
		}
		if !w.lives(large) {
			t.Error("the large session ended: the test shows nothing")
		}
		w.pass(5 * time.Second)
		for r := range w.kv.Snapshot().All(skerry.Below(record.Delays), "") {
			t.Fatalf("%s is still there", r.Key)
		}
	})
}
