package kvtest

import (
	"testing"

	"github.com/skerryhq/skerry"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func watching(t *testing.T, w *world) {
	first := w.put("a/1", "1")
	byKey, onKey := w.kv.Watch(skerry.Only(w.root + "a/1"))
	byPrefix, onPrefix := w.kv.Watch(skerry.Below(w.root + "a/"))
	_, other := w.kv.Watch(skerry.Below(w.root + "b/"))
	_, longer := w.kv.Watch(skerry.Only(w.root + "a/11"))
	if byKey != first || byPrefix < first {
		t.Errorf("indexes %d and %d, want %d", byKey, byPrefix, first)
	}
	second := w.put("a/2", "1")
	if closed(onKey) || !closed(onPrefix) || closed(other) || closed(longer) {
		t.Errorf("a/2 woke key %v prefix %v other %v longer %v", closed(onKey), closed(onPrefix), closed(other), closed(longer))
	}
	if byPrefix, onPrefix = w.kv.Watch(skerry.Below(w.root + "a/")); byPrefix != second {
		t.Errorf("prefix index %d, want %d", byPrefix, second)
	}
	w.delete("a/1")
	if !closed(onKey) || !closed(onPrefix) || closed(other) || closed(longer) {
		t.Errorf("the removal woke key %v prefix %v other %v longer %v", closed(onKey), closed(onPrefix), closed(other), closed(longer))
	}
}

func leaving(t *testing.T, w *world) {
	for _, r := range []skerry.Range{skerry.Only(w.root + "a/1"), skerry.Below(w.root + "a/")} {
		_, first := w.kv.Watch(r)
		at, second := w.kv.Watch(r)
		w.kv.Unwatch(first)
		if got := w.kv.Changed(r); got != at || closed(second) {
			t.Errorf("%v: changed at %d, watched at %d; woken without a change: %v", r, got, at, closed(second))
		}
		index := w.put("a/1", "1")
		if !closed(second) {
			t.Errorf("%v: a present watcher was not woken", r)
		}
		w.kv.Unwatch(second)
		if got := w.kv.Changed(r); got != index {
			t.Errorf("%v: changed at %d, want %d", r, got, index)
		}
		w.delete("a/1")
	}
}
