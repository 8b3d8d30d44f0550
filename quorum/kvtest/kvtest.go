// Package kvtest holds the promises of any [skerry.KV] as a suite of tests.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// Run checks a KV. open returns an empty one, or one without other users of keys that
// begin with "kvtest/"; every test takes its own keys. damage changes the record of a key
// behind the store's back, and returns when the KV has seen it.
func Run(t *testing.T, open func(t *testing.T) skerry.KV, damage func(t *testing.T, kv skerry.KV, key string)) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"put, get, delete", putGetDelete},
		{"created stays, modified grows", stamps},
		{"a change is whole or not at all", whole},
		{"a transaction sees itself", seesItself},
		{"a cleared prefix may be filled again", clearedAndFilled},
		{"ranges stop at their prefix", ranges},
		{"a lost race runs again", race},
		{"counting from many sides", counting},
		{"a range that was read is guarded", phantom},
		{"a failing change changes nothing", failing},
		{"a watch is woken by its own range", watching},
		{"a watcher that leaves takes no other with it", leaving},
		{"a removal moves the index of its range", removals},
		{"an old snapshot stays as it is", oldSnapshot},
		{"a large transaction", large},
		{"a lease that ends takes its keys", leaseEnds},
		{"a renewed lease lives", leaseLives},
		{"a revoked lease is gone", leaseRevoked},
		{"a damaged record is an error and no value", damagedIsTold},
		{"a change that rests on damage is not made", damagedIsRefused},
		{"writing and deleting mend damage", damagedIsMended},
		{"all is replaced at once", replaced},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c.run(t, &world{t: t, ctx: ctx, kv: open(t), root: "kvtest/" + c.name + "/", damage: damage})
		})
	}
}

type world struct {
	t    *testing.T
	ctx  context.Context
	kv   skerry.KV
	root string

	damage func(t *testing.T, kv skerry.KV, key string)
}

func (w *world) update(change func(skerry.Tx) error) uint64 {
	w.t.Helper()
	index, err := w.kv.Update(w.ctx, change)
	if err != nil {
		w.t.Fatalf("update: %v", err)
	}
	return index
}

func (w *world) put(key, value string) uint64 {
	w.t.Helper()
	return w.update(func(tx skerry.Tx) error { tx.Put(w.root+key, []byte(value), 0); return nil })
}

func (w *world) delete(key string) uint64 {
	w.t.Helper()
	return w.update(func(tx skerry.Tx) error { tx.Delete(w.root + key); return nil })
}

func (w *world) value(key string) string {
	r := w.kv.Snapshot().Get(w.root + key)
	if r == nil {
		return "-"
	}
	return string(r.Value)
}

func (w *world) want(key, value string) {
	w.t.Helper()
	if got := w.value(key); got != value {
		w.t.Errorf("%s is %q, want %q", key, got, value)
	}
}

func (w *world) keys(prefix string) []string {
	var out []string
	for r := range w.kv.Snapshot().All(skerry.Below(w.root+prefix), "") {
		out = append(out, r.Key[len(w.root):])
	}
	return out
}

func putGetDelete(t *testing.T, w *world) {
	w.want("a", "-")
	w.put("a", "1")
	w.want("a", "1")
	w.put("a", "")
	w.want("a", "")
	w.delete("a")
	w.want("a", "-")
	w.delete("a")
}

func stamps(t *testing.T, w *world) {
	first := w.put("a", "1")
	second := w.put("a", "2")
	if first == 0 || second <= first {
		t.Fatalf("indexes %d, then %d", first, second)
	}
	if r := w.kv.Snapshot().Get(w.root + "a"); r.Created != first || r.Modified != second {
		t.Errorf("created %d modified %d, want %d and %d", r.Created, r.Modified, first, second)
	}
	w.delete("a")
	third := w.put("a", "3")
	if r := w.kv.Snapshot().Get(w.root + "a"); r.Created != third || r.Modified != third {
		t.Errorf("after a removal: created %d modified %d, want %d twice", r.Created, r.Modified, third)
	}
}

func whole(t *testing.T, w *world) {
	w.put("old", "1")
	index := w.update(func(tx skerry.Tx) error {
		tx.Put(w.root+"a", []byte("1"), 0)
		tx.Put(w.root+"b", []byte("2"), 0)
		tx.Delete(w.root + "old")
		return nil
	})
	w.want("a", "1")
	w.want("b", "2")
	w.want("old", "-")
	s := w.kv.Snapshot()
	if a, b := s.Get(w.root+"a").Modified, s.Get(w.root+"b").Modified; a != index || b != index {
		t.Errorf("modified %d and %d, want %d", a, b, index)
	}
}

func seesItself(t *testing.T, w *world) {
	w.put("a", "1")
	w.put("b", "1")
	w.update(func(tx skerry.Tx) error {
		tx.Put(w.root+"a", []byte("2"), 0)
		tx.Put(w.root+"c", []byte("2"), 0)
		tx.Delete(w.root + "b")
		if r := tx.Get(w.root + "a"); r == nil || string(r.Value) != "2" || r.Modified != 0 || r.Created == 0 {
			t.Errorf("a is %+v in its own transaction", r)
		}
		if r := tx.Get(w.root + "b"); r != nil {
			t.Errorf("b is %+v after its removal", r)
		}
		var got []string
		for _, r := range tx.All(w.root) {
			got = append(got, r.Key[len(w.root):]+"="+string(r.Value))
		}
		if !slices.Equal(got, []string{"a=2", "c=2"}) {
			t.Errorf("all: %v", got)
		}
		tx.DeleteAll(w.root)
		if got := tx.All(w.root); len(got) != 0 {
			t.Errorf("after DeleteAll: %v", got)
		}
		return nil
	})
	if got := w.keys(""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func clearedAndFilled(t *testing.T, w *world) {
	for _, k := range []string{"a", "b/1", "b/2", "b/2/x", "c"} {
		w.put(k, "old")
	}
	w.update(func(tx skerry.Tx) error {
		tx.DeleteAll(w.root + "b/")
		tx.Put(w.root+"b/2", []byte("new"), 0)
		return nil
	})
	if got := w.keys(""); !slices.Equal(got, []string{"a", "b/2", "c"}) {
		t.Errorf("keys: %v", got)
	}
	w.want("b/2", "new")
	w.update(func(tx skerry.Tx) error {
		tx.Delete(w.root + "b/2")
		tx.DeleteAll(w.root + "b/")
		tx.DeleteAll(w.root)
		return nil
	})
	if got := w.keys(""); len(got) != 0 {
		t.Errorf("keys: %v", got)
	}
}

func ranges(t *testing.T, w *world) {
	for _, k := range []string{"a", "a/1", "a/2", "a0", "b"} {
		w.put(k, k)
	}
	if got := w.keys("a/"); !slices.Equal(got, []string{"a/1", "a/2"}) {
		t.Errorf("a/: %v", got)
	}
	if got := w.keys("a"); !slices.Equal(got, []string{"a", "a/1", "a/2", "a0"}) {
		t.Errorf("a: %v", got)
	}
	var got []string
	for r := range w.kv.Snapshot().All(skerry.Below(w.root+"a"), w.root+"a/2") {
		got = append(got, r.Key[len(w.root):])
	}
	if !slices.Equal(got, []string{"a/2", "a0"}) {
		t.Errorf("a from a/2: %v", got)
	}
	got = nil
	for r := range w.kv.Snapshot().All(skerry.Only(w.root+"a"), "") {
		got = append(got, r.Key[len(w.root):])
	}
	if !slices.Equal(got, []string{"a"}) {
		t.Errorf("only a: %v", got)
	}
}

func race(t *testing.T, w *world) {
	w.put("a", "1")
	runs := 0
	w.update(func(tx skerry.Tx) error {
		runs++
		was := tx.Get(w.root + "a")
		if runs == 1 {
			w.put("a", "5")
		}
		tx.Put(w.root+"b", append([]byte("saw "), was.Value...), 0)
		return nil
	})
	if runs != 2 {
		t.Errorf("ran %d times, want 2", runs)
	}
	w.want("b", "saw 5")
}

func counting(t *testing.T, w *world) {
	const sides, each = 8, 25
	var g sync.WaitGroup
	for range sides {
		g.Go(func() {
			for range each {
				_, err := w.kv.Update(w.ctx, func(tx skerry.Tx) error {
					n := 0
					if r := tx.Get(w.root + "n"); r != nil {
						fmt.Sscan(string(r.Value), &n)
					}
					tx.Put(w.root+"n", fmt.Append(nil, n+1), 0)
					return nil
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	g.Wait()
	w.want("n", fmt.Sprint(sides*each))
}

func phantom(t *testing.T, w *world) {
	w.put("in/a", "1")
	for _, between := range []func(){
		func() { w.put("in/b", "1") },
		func() { w.put("in/a", "2") },
		func() { w.delete("in/a") },
	} {
		runs := 0
		var seen int
		w.update(func(tx skerry.Tx) error {
			runs++
			seen = len(tx.All(w.root + "in/"))
			if runs == 1 {
				between()
			}
			tx.Put(w.root+"count", fmt.Append(nil, seen), 0)
			return nil
		})
		if runs != 2 {
			t.Errorf("ran %d times, want 2", runs)
		}
		w.want("count", fmt.Sprint(len(w.keys("in/"))))
	}
}

func failing(t *testing.T, w *world) {
	w.put("a", "1")
	stop := errors.New("stop")
	_, err := w.kv.Update(w.ctx, func(tx skerry.Tx) error {
		tx.Put(w.root+"a", []byte("2"), 0)
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
	w.want("a", "1")
}

func removals(t *testing.T, w *world) {
	w.put("a/1", "1")
	second := w.put("a/2", "1")
	if got := w.kv.Snapshot().Changed(skerry.Below(w.root + "a/")); got != second {
		t.Errorf("index %d, want %d", got, second)
	}
	removed := w.delete("a/1")
	w.put("elsewhere", "1")
	for _, r := range []skerry.Range{skerry.Below(w.root + "a/"), skerry.Only(w.root + "a/1")} {
		if got := w.kv.Snapshot().Changed(r); got != removed {
			t.Errorf("%v: index %d, want %d", r, got, removed)
		}
		if got, _ := w.kv.Watch(r); got != removed {
			t.Errorf("%v: watched at %d, want %d", r, got, removed)
		}
	}
	if got := w.kv.Snapshot().Changed(skerry.Only(w.root + "a/2")); got != second {
		t.Errorf("a/2: index %d, want %d", got, second)
	}
}

func oldSnapshot(t *testing.T, w *world) {
	w.put("a", "1")
	old := w.kv.Snapshot()
	w.put("a", "2")
	w.put("b", "1")
	if r := old.Get(w.root + "a"); string(r.Value) != "1" || old.Get(w.root+"b") != nil {
		t.Error("an old snapshot changed")
	}
	if now := w.kv.Snapshot(); now.Index() <= old.Index() {
		t.Errorf("index %d after %d", now.Index(), old.Index())
	}
}

func large(t *testing.T, w *world) {
	const n = 500
	w.update(func(tx skerry.Tx) error {
		for i := range n {
			tx.Get(fmt.Sprintf("%s%04d", w.root, i))
			tx.Put(fmt.Sprintf("%s%04d", w.root, i), []byte("1"), 0)
		}
		return nil
	})
	if got := len(w.keys("")); got != n {
		t.Errorf("%d keys, want %d", got, n)
	}
	w.update(func(tx skerry.Tx) error {
		for _, r := range tx.All(w.root) {
			tx.Put(r.Key, []byte("2"), 0)
		}
		return nil
	})
	w.want("0499", "2")
	w.update(func(tx skerry.Tx) error { tx.DeleteAll(w.root); return nil })
	if got := len(w.keys("")); got != 0 {
		t.Errorf("%d keys are left", got)
	}
}
