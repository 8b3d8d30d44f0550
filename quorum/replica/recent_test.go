package replica_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func set(t *testing.T, kv *replicatest.Memory, keys ...string) uint64 {
	t.Helper()
	index, err := kv.Update(t.Context(), func(tx skerry.Tx) error {
		for _, k := range keys {
			tx.Put(k, []byte("x"), 0)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestChanges(t *testing.T) {
	kv := replicatest.NewMemory()
	if _, ok := kv.Changes("", kv.Index()); ok {
		t.Error("what came before the first change is said to be known")
	}
	first := set(t, kv, "a/1", "b/1")
	second := set(t, kv, "a/2")
	third := set(t, kv, "a/1")
	if _, err := kv.Update(t.Context(), func(tx skerry.Tx) error { tx.Delete("a/2"); tx.Delete("a/none"); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prefix string
		since  uint64
		want   []string
	}{
		{"a/", first, []string{"a/2", "a/1"}},
		{"a/", second, []string{"a/1", "a/2"}},
		{"a/", third, []string{"a/2"}},
		{"b/", first, nil},
		{"", kv.Index(), nil},
		{"a/", kv.Index() + 5, nil},
	} {
		if got, ok := kv.Changes(c.prefix, c.since); !ok || !slices.Equal(got, c.want) {
			t.Errorf("below %q since %d: %v, %v; want %v", c.prefix, c.since, got, ok, c.want)
		}
	}
	kv.Reset(kv.Index()+1, func(func(*skerry.Record) bool) {})
	if _, ok := kv.Changes("a/", third); ok {
		t.Error("a replaced table knows what changed before")
	}
}

// What is forgotten is said to be, and what is not is all there.
func TestChangesAreForgotten(t *testing.T) {
	kv := replicatest.NewMemory()
	var at []uint64
	for i := range 30_000 {
		at = append(at, set(t, kv, fmt.Sprint("k", i)))
	}
	if _, ok := kv.Changes("", at[0]); ok {
		t.Error("30,000 changes are remembered")
	}
	got, ok := kv.Changes("", at[25_000])
	if !ok || len(got) != 4_999 || got[0] != "k25001" {
		t.Errorf("since the 25,000th: %d keys, %v", len(got), ok)
	}
}

// A prefix that changes keeps its index without being worked out anew.
func TestWatchedPrefixTellsItsIndex(t *testing.T) {
	kv := replicatest.NewMemory()
	kv.Watch(skerry.Below("a/"))
	index := set(t, kv, "a/1")
	set(t, kv, "b/1")
	got, changed := kv.Watch(skerry.Below("a/"))
	if got != index {
		t.Errorf("index %d, want %d", got, index)
	}
	set(t, kv, "a/1", "a/2")
	select {
	case <-changed:
	default:
		t.Error("the watcher was not woken")
	}
	if got, _ := kv.Watch(skerry.Below("a/")); got != kv.Index() {
		t.Errorf("index %d after the change, want %d", got, kv.Index())
	}
}

// Removals of fleeting keys are not remembered, so that they do not crowd out the others.
func TestFleetingKeys(t *testing.T) {
	kv := replicatest.NewMemory()
	at := set(t, kv, "a")
	gone := set(t, kv, "b")
	if _, err := kv.Update(t.Context(), func(tx skerry.Tx) error { tx.Delete("b"); return nil }); err != nil {
		t.Fatal(err)
	}
	_, changed := kv.Watch(skerry.Below("a"))
	for range 70 { // more removals than the table remembers
		var keys []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprint(skerry.Fleeting, i))
		}
		set(t, kv, keys...)
		if _, err := kv.Update(t.Context(), func(tx skerry.Tx) error { tx.DeleteAll(skerry.Fleeting); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-changed:
		t.Error("a watcher was woken")
	default:
	}
	if got := kv.Changed(skerry.Below("a")); got != at {
		t.Errorf("changed at %d, want %d", got, at)
	}
	if got := kv.Snapshot().Changed(skerry.Only("b")); got != gone+1 {
		t.Errorf("removed at %d, want %d", got, gone+1)
	}
	if keys, ok := kv.Changes("", at); !ok || !slices.Equal(keys, []string{"b"}) {
		t.Errorf("changes %v, %v", keys, ok)
	}
	set(t, kv, skerry.Fleeting+"x")
	if kv.Snapshot().Get(skerry.Fleeting+"x") == nil {
		t.Error("a fleeting key is not there")
	}
}
