package session

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
)

func (w *world) put(key string) {
	w.t.Helper()
	if _, err := w.keys.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: key}}); err != nil {
		w.t.Fatal(err)
	}
}

// Writing a damaged entry anew does not free its lock.
func TestAMendedEntryKeepsItsHolder(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		w.node("n1", skerry.Passing)
		first, second := w.session(skerry.Session{}), w.session(skerry.Session{})
		if !w.lock("k", first) {
			t.Fatal("the lock was not taken")
		}
		w.kv.Damage("kv/k")
		_, err := w.keys.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "k", Session: second}})
		decidedtest.WantDamage(t, "a lock", err, "kv/k")
		w.put("k")
		if got := w.holder("k"); got != first {
			t.Errorf("the holder is %q, not %q", got, first)
		}
		if w.lock("k", second) {
			t.Error("two hold the lock")
		}
	})
}

// A damaged session ends no other session, holds its locks until it is ended, and
// can be ended.
func TestADamagedSession(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		w.node("n1", skerry.Passing)
		w.node("n2", skerry.Passing)
		damaged, other := w.session(skerry.Session{}), w.session(skerry.Session{Node: "n2"})
		w.lock("k", damaged)
		w.pass(time.Second) // the decider has seen n2
		w.kv.Damage("session/" + damaged)
		_, err := w.store.Session(damaged)
		decidedtest.WantDamage(t, "a session", err, "session/"+damaged)
		_, err = w.store.Sessions("")
		decidedtest.WantDamage(t, "the sessions", err, "session/"+damaged)
		_, err = w.keys.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "l", Session: damaged}})
		decidedtest.WantDamage(t, "a lock", err, "session/"+damaged)
		w.table.Withdraw("agent/n2", skerry.Version{Epoch: 1 << 60})
		w.pass(2 * time.Second)
		if w.kv.Snapshot().Get("session/"+other) != nil {
			t.Error("the session of a node that went lives, since another is damaged")
		}
		if w.holder("k") != damaged {
			t.Error("the damaged session lost its lock")
		}
		if err := w.store.DestroySession(t.Context(), damaged); err != nil || w.kv.Snapshot().Get("session/"+damaged) != nil || w.holder("k") != "" {
			t.Errorf("it was not ended: %v, holder %q", err, w.holder("k"))
		}
	})
}
