package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// A caller that wrote through the agent finds its change with the next question, and others wait for nothing.
func TestAWriteThroughTheAgentIsSeenNext(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/a", "web-1:1")
		w.sees("a/web-1:1")
		for range 20 {
			w.put(w.table, "agent/a", "web-1:1", "web-2:2")
			w.cache.Written()
			w.sees("a/web-1:1", "a/web-2:2")
			w.put(w.table, "agent/a", "web-1:1")
			w.cache.Written()
			w.sees("a/web-1:1")
		}
	})
}

// A server that does not confirm a view holds up one question, for a second. One that comes after it confirms.
func TestASilentServerHoldsUpOneQuestion(t *testing.T) {
	with(t, "", func(w *world) {
		w.put(w.table, "agent/a", "web-1:1")
		w.sees("a/web-1:1")
		w.mu.Lock()
		w.silent = true
		w.mu.Unlock()
		w.cut(false)
		time.Sleep(10 * time.Second) // of the bubble: the agent is at the silent server
		synctest.Wait()
		w.put(w.table, "agent/a", "web-1:2")
		w.cache.Written()
		for n, want := range []time.Duration{time.Second, 0} {
			began := time.Now()
			w.sees("a/web-1:1")
			if took := time.Since(began); took != want {
				t.Errorf("question %d took %v, want %v", n+1, took, want)
			}
		}
		w.cache.Written()
		w.mu.Lock()
		w.silent = false
		w.mu.Unlock()
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			w.sees("a/web-1:2")
		}()
		synctest.Wait()
		w.cut(false)
		<-asked
	})
}

// external announces an external node with an instance of web, with stamps of the store.
func (w *world) external(modified uint64) {
	w.t.Helper()
	stamp := skerry.Stamp{Created: 5, Modified: modified}
	set := &skerry.Set{
		Node:      &skerry.Node{Name: "db", Address: "10.0.0.9", Stamp: stamp},
		Instances: []*skerry.Instance{{ID: "web-9", Service: "web", Tags: []string{"v9"}, Stamp: stamp}},
		Checks:    []*skerry.Check{{ID: "c", ServiceID: "web-9", ServiceName: "web", Status: skerry.Passing, Stamp: stamp}},
	}
	w.seq["external/db"]++
	v := skerry.Version{Epoch: 1, Seq: w.seq["external/db"]}
	if _, err := w.table.Announce(skerry.Announcement{Owner: "external/db", Kind: skerry.ExternalOwner, Version: v, Set: set, Digest: set.Digest()}); err != nil {
		w.t.Fatal(err)
	}
}

// stamped compares the stamps of the external instance and its check.
func (w *world) stamped(modified uint64) {
	w.t.Helper()
	v, _, err := w.cache.Service(w.t.Context(), "web")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range v.Entries {
		want := skerry.Stamp{Created: 5, Modified: modified}
		if e.Owner == "external/db" && (e.Instance.Stamp != want || e.Checks[0].Stamp != want || e.Node.Stamp != want) {
			w.t.Errorf("stamps %v, %v and %v, want %v", e.Node.Stamp, e.Instance.Stamp, e.Checks[0].Stamp, want)
		}
		if e.Owner != "external/db" && !w.mine(e.Instance.Modified) {
			w.t.Errorf("the stamp of an owned instance is %v, not of the agent's counter", e.Instance.Stamp)
		}
	}
	if len(v.Entries) != 2 {
		w.t.Errorf("the agent sees %s", show(v))
	}
}

func (w *world) mine(index uint64) bool { return !w.own.Foreign(index) }

// Records of the quorum store keep its stamps at an agent, so that a transaction can compare them, also where they
// were written again as they were while the agent was cut off.
func TestStampsOfTheStoreAreKept(t *testing.T) {
	dir := t.TempDir()
	with(t, dir, func(w *world) {
		w.put(w.table, "agent/a", "web-1:1")
		w.external(7)
		w.stamped(7)
		w.external(13)
		w.cache.Written()
		w.stamped(13)
		before, _, err := w.cache.Service(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		w.cut(false)
		time.Sleep(10 * time.Second) // of the bubble: the agent follows again
		if after, _, err := w.cache.Service(t.Context(), "web"); err != nil || after != before {
			t.Errorf("an unchanged view is another one after a new stream: %v", err)
		}
		w.cut(true)
		w.external(19)
		w.cut(false)
		time.Sleep(10 * time.Second)
		w.stamped(19)
	})
	within(t, dir, true, func(w *world) { w.stamped(19) })
}
