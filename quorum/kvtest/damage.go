package kvtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

func damagedIsTold(t *testing.T, w *world) {
	w.put("a", "1")
	w.put("b", "2")
	w.put("c", "3")
	_, changed := w.kv.Watch(skerry.Only(w.root + "b"))
	w.damage(t, w.kv, w.root+"b")
	if !closed(changed) {
		t.Error("a watcher was not woken")
	}
	s := w.kv.Snapshot()
	wantDamage(t, w, s.Get(w.root+"b"))
	var seen []string
	for r := range s.All(skerry.Below(w.root), "") {
		if r.Damage == nil {
			seen = append(seen, r.Key[len(w.root):]+"="+string(r.Value))
			continue
		}
		wantDamage(t, w, r)
		seen = append(seen, r.Key[len(w.root):]+" is damaged")
	}
	if want := []string{"a=1", "b is damaged", "c=3"}; !slices.Equal(seen, want) {
		t.Errorf("seen: %q, want %q", seen, want)
	}
}

func wantDamage(t *testing.T, w *world, r *skerry.Record) {
	t.Helper()
	switch {
	case r == nil:
		t.Error("the damaged record looks as if it were not there")
	case r.Damage == nil || r.Value != nil:
		t.Errorf("the damaged record is served: %q", r.Value)
	case skerry.KindOf(r.Damage) != skerry.Internal || !strings.Contains(r.Damage.Error(), w.root+"b"):
		t.Errorf("the damage is of kind %v and does not name the key: %v", skerry.KindOf(r.Damage), r.Damage)
	}
}

func damagedIsRefused(t *testing.T, w *world) {
	w.put("b", "2")
	w.damage(t, w.kv, w.root+"b")
	for name, change := range map[string]func(skerry.Tx){
		"one that read it":              func(tx skerry.Tx) { tx.Get(w.root + "b"); tx.Put(w.root+"other", nil, 0) },
		"one that read a range with it": func(tx skerry.Tx) { tx.All(w.root); tx.Put(w.root+"other", nil, 0) },
		"one that only reads":           func(tx skerry.Tx) { tx.Get(w.root + "b") },
	} {
		_, err := w.kv.Update(w.ctx, func(tx skerry.Tx) error { change(tx); return nil })
		if skerry.KindOf(err) != skerry.Internal || err == nil || !strings.Contains(err.Error(), w.root+"b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.want("other", "-")
}

func damagedIsMended(t *testing.T, w *world) {
	for name, mend := range map[string]func(skerry.Tx){
		"put":        func(tx skerry.Tx) { tx.Put(w.root+"b", []byte("new"), 0) },
		"put, read":  func(tx skerry.Tx) { tx.Get(w.root + "b"); tx.Put(w.root+"b", []byte("new"), 0) },
		"delete":     func(tx skerry.Tx) { tx.Delete(w.root + "b") },
		"delete all": func(tx skerry.Tx) { tx.All(w.root); tx.DeleteAll(w.root) },
	} {
		w.put("b", "2")
		w.damage(t, w.kv, w.root+"b")
		w.update(func(tx skerry.Tx) error { mend(tx); return nil })
		if r := w.kv.Snapshot().Get(w.root + "b"); r != nil && (r.Damage != nil || string(r.Value) != "new") {
			t.Errorf("after %s: %q, %v", name, r.Value, r.Damage)
		}
	}
}
