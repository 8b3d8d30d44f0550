package decided

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/keyspace"
)

// world is a store with a decider, on a catalog with one node, in fake time.
type world struct {
	t     *testing.T
	kv    *keyspace.Memory
	table *catalog.Table
	store *Store
	seq   uint64
}

// inWorld runs f in a bubble of fake time, with deciders of these names.
func inWorld(t *testing.T, deciders []string, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, kv: keyspace.NewMemory(), table: catalog.New(catalog.Config{FirstIndex: 1})}
		w.store = &Store{KV: w.kv, Catalog: w.table}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		for _, name := range deciders {
			d := &Decider{Store: w.store, Self: name, Log: slog.New(slog.DiscardHandler)}
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
	done, err := w.store.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: key, Session: session}})
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
	e, err := w.store.Get(key)
	if err != nil {
		w.t.Fatal(err)
	}
	if e == nil {
		return "-"
	}
	return e.Session
}

// pass lets time pass and everybody do what is due.
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
		if done, err := w.store.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyRelease, KeyValue: skerry.KeyValue{Key: "k", Session: b}}); !done || err != nil {
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
		w.table.Withdraw("agent/n1")
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
		w.table.Withdraw("agent/late")
		ctx, cancel := context.WithCancel(w.t.Context())
		done := make(chan struct{})
		d := &Decider{Store: w.store, Self: "s1", Log: slog.New(slog.DiscardHandler)}
		go func() { d.Run(ctx); close(done) }()
		w.pass(knownAfter - time.Second)
		if !w.lives(late) {
			t.Error("the session ended before its node could have come back")
		}
		w.pass(3 * time.Second)
		if w.lives(late) {
			t.Error("the session of a node that never came lives on")
		}
		cancel()
		<-done
	})
}

func TestOneDecidesAndAnotherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, kv: keyspace.NewMemory(), table: catalog.New(catalog.Config{FirstIndex: 1})}
		w.store = &Store{KV: w.kv, Catalog: w.table}
		w.node("n1", skerry.Passing)
		start := func(name string) (*Decider, func()) {
			ctx, cancel := context.WithCancel(w.t.Context())
			d := &Decider{Store: w.store, Self: name, Log: slog.New(slog.DiscardHandler)}
			done := make(chan struct{})
			go func() { d.Run(ctx); close(done) }()
			synctest.Wait()
			return d, func() { cancel(); <-done }
		}
		one, stopOne := start("s1")
		two, stopTwo := start("s2")
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

// Who was replaced without knowing it decides nothing.
func TestAReplacedDeciderDecidesNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		d := &Decider{Store: w.store, Self: "s1", Log: slog.New(slog.DiscardHandler)}
		old, err := d.elect(w.t.Context())
		if err != nil || old == nil {
			t.Fatalf("elect: %v %v", old, err)
		}
		id := w.session(skerry.Session{})
		s, _ := w.store.Session(id)
		w.pass(2 * termTTL) // nobody renews: the office is free
		if next, err := (&Decider{Store: w.store, Self: "s2", Log: d.Log}).elect(w.t.Context()); err != nil || next == nil {
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

func TestARestoreKeepsLocksAndRenewsTTLs(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		id := w.session(skerry.Session{TTLText: "20s", LockDelay: -1})
		w.lock("k", id)
		saved := save(w.t, w.store)
		w.pass(41 * time.Second)
		if w.lives(id) {
			t.Fatal("the session outlived twice its TTL")
		}
		before := w.kv.Index()
		restore(w.t, w.store, saved)
		synctest.Wait()
		if !w.lives(id) || w.holder("k") != id || w.kv.Index() <= before {
			t.Errorf("restored: lives %v, holder %q, index %d after %d", w.lives(id), w.holder("k"), w.kv.Index(), before)
		}
		w.pass(39 * time.Second)
		if !w.lives(id) {
			t.Error("the restored session did not begin its TTL anew")
		}
		w.pass(5 * time.Second)
		if w.lives(id) || w.holder("k") != "" {
			t.Error("the restored session does not end")
		}
	})
}

// limited is a KV whose engine takes so many writes in one change.
type limited struct {
	*keyspace.Memory
	most int
}

func (l limited) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	return l.Memory.Table.Update(ctx, l, change)
}

func (l limited) Commit(ctx context.Context, c *keyspace.Commit) (uint64, bool, error) {
	if n := len(c.Puts) + len(c.Deletes); n > l.most {
		return 0, false, skerry.Errorf(skerry.Invalid, "%d writes", n)
	}
	return l.Memory.Commit(ctx, c)
}

// A session that holds more than one change can give back does not keep others
// from their end, nor do many lock-delays that end together.
func TestWhatIsTooLargeHoldsUpNobody(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.store.KV = limited{w.kv, 128}
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
		stop := w.decider(&Decider{Store: w.store, Self: "s1", Log: slog.New(slog.DiscardHandler)})
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
		for r := range w.kv.Snapshot().All(skerry.Below(delayPrefix), "") {
			t.Fatalf("%s is still there", r.Key)
		}
	})
}
