package replica

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

// put1 makes a change of one key and returns its index.
func put1(t *Table, key string) uint64 {
	index := t.Index() + 1
	t.Apply(index, []Change{{Key: key, Record: &skerry.Record{Key: key, Created: index, Modified: index}}})
	return index
}

func wantKept(t *testing.T, when string, table *Table, keys, prefixes, channels int) {
	t.Helper()
	if k, p, c := table.kept(); k != keys || p > prefixes || c != channels {
		t.Errorf("%s: %d keys, %d prefixes and %d channels are kept, want %d, at most %d, and %d", when, k, p, c, keys, prefixes, channels)
	}
}

// A topic goes with its last watcher, whoever that is and however many there were.
func TestATopicGoesWithItsLastWatcher(t *testing.T) {
	m := NewTable(1)
	put := func(key string) { put1(m, key) }
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
	wantKept(t, "watched", m, many, many, 2*many)
	for _, changed := range channels[:2*many] {
		m.Unwatch(changed)
	}
	wantKept(t, "with a watcher less each", m, many, many, 2*many)
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
	wantKept(t, "with no watcher", m, 0, maxIdle, 0)
	for i := range 3 * maxIdle { // too many, and too long ones
		_, changed := m.Watch(skerry.Below(strings.Repeat("x", i%2*maxIdlePrefix) + fmt.Sprintf("q/%d", i)))
		m.Unwatch(changed)
	}
	wantKept(t, "after many more", m, 0, maxIdle, 0)
}

// The index alone leaves nothing behind, and is Watch's.
func TestAskingForTheIndexKeepsNothing(t *testing.T) {
	m := NewTable(1)
	put1(m, "a/1")
	for _, r := range []skerry.Range{skerry.Only("a/1"), skerry.Only("none"), skerry.Below("a/"), skerry.Below("none")} {
		index := m.Changed(r)
		wantKept(t, "asked", m, 0, 0, 0)
		if again, changed := m.Watch(r); again != index {
			t.Errorf("%v: changed at %d, watched at %d", r, index, again)
		} else {
			m.Unwatch(changed)
		}
		if again := m.Changed(r); again != index {
			t.Errorf("%v: changed at %d, then at %d", r, index, again)
		}
		m.topics = newTopics()
	}
}

// A prefix without a watcher for a moment keeps its index up to date.
func TestAnIdlePrefixFollows(t *testing.T) {
	m := NewTable(1)
	_, changed := m.Watch(skerry.Below("a/"))
	m.Unwatch(changed)
	index := put1(m, "a/1")
	if got, _ := m.Watch(skerry.Below("a/")); got != index {
		t.Errorf("watched at %d, want %d", got, index)
	}
}
