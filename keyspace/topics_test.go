package keyspace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// kept is how many ranges the table keeps something of.
func (t *Table) kept() (keys, prefixes, channels int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.topics.keys), t.topics.prefixes.Len(), len(t.topics.watched)
}

func wantKept(t *testing.T, when string, table *Table, keys, prefixes, channels int) {
	t.Helper()
	if k, p, c := table.kept(); k != keys || p > prefixes || c != channels {
		t.Errorf("%s: %d keys, %d prefixes and %d channels are kept, want %d, at most %d, and %d", when, k, p, c, keys, prefixes, channels)
	}
}

// A topic goes with its last watcher, whoever that is and however many there were.
func TestATopicGoesWithItsLastWatcher(t *testing.T) {
	m := NewMemory()
	put := func(key string) {
		if _, err := m.Update(t.Context(), func(tx skerry.Tx) error { tx.Put(key, nil, 0); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	const many = 5000
	var channels []<-chan struct{}
	for range 2 {
		for i := range many {
			for _, r := range []skerry.Range{skerry.Only(fmt.Sprintf("k/%d", i)), skerry.Below(fmt.Sprintf("p/%d/", i))} {
				_, changed := m.Watch(r)
				channels = append(channels, changed)
			}
		}
	}
	wantKept(t, "watched", m.Table, many, many, 2*many)
	for _, changed := range channels[:2*many] {
		m.Unwatch(changed)
	}
	wantKept(t, "with a watcher less each", m.Table, many, many, 2*many)
	put("k/7")
	put("p/7/x")
	select {
	case <-channels[2*many+2*7+1]:
	default:
		t.Error("one who waits still was not woken")
	}
	for _, changed := range channels[2*many:] {
		m.Unwatch(changed) // of those that were woken too
	}
	wantKept(t, "with no watcher", m.Table, 0, maxIdle, 0)
	for i := range 3 * maxIdle { // too many, and too long ones
		_, changed := m.Watch(skerry.Below(strings.Repeat("x", i%2*maxIdlePrefix) + fmt.Sprintf("q/%d", i)))
		m.Unwatch(changed)
	}
	wantKept(t, "after many more", m.Table, 0, maxIdle, 0)
}

// The index alone leaves nothing behind, and is Watch's.
func TestAskingForTheIndexKeepsNothing(t *testing.T) {
	m := NewMemory()
	if _, err := m.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("a/1", nil, 0); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, r := range []skerry.Range{skerry.Only("a/1"), skerry.Only("none"), skerry.Below("a/"), skerry.Below("none")} {
		index := m.Changed(r)
		wantKept(t, "asked", m.Table, 0, 0, 0)
		if again, changed := m.Watch(r); again != index {
			t.Errorf("%v: changed at %d, watched at %d", r, index, again)
		} else {
			m.Unwatch(changed)
		}
		if again := m.Changed(r); again != index {
			t.Errorf("%v: changed at %d, then at %d", r, index, again)
		}
		m.Table.topics = newTopics()
	}
}

// A prefix without a watcher for a moment keeps its index up to date.
func TestAnIdlePrefixFollows(t *testing.T) {
	m := NewMemory()
	_, changed := m.Watch(skerry.Below("a/"))
	m.Unwatch(changed)
	index, err := m.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("a/1", nil, 0); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := m.Watch(skerry.Below("a/")); got != index {
		t.Errorf("watched at %d, want %d", got, index)
	}
}
