package keyspace

import (
	"strings"

	"github.com/hashicorp/go-immutable-radix/v2"

	"github.com/skerryhq/skerry"
)

// topic is a range that somebody watches.
type topic struct {
	changed chan struct{}
	last    uint64 // index of the range's last change; 0: not worked out yet
	idle    bool   // nobody asked since the last age
	waited  bool   // somebody has the channel
}

// wake notes a change. The topic stays, so that its index need not be worked out
// again from all that is in the range.
func (t *topic) wake(index uint64) {
	t.last = index
	if t.waited {
		close(t.changed)
		t.changed, t.waited = make(chan struct{}), false
	}
}

// topics finds the watched ranges that a key is in without looking at the
// others: one look for the key itself, one walk down a radix tree for prefixes.
type topics struct {
	keys     map[string]*topic
	prefixes *iradix.Tree[*topic]
}

func newTopics() topics {
	return topics{keys: map[string]*topic{}, prefixes: iradix.New[*topic]()}
}

func (ts *topics) at(r skerry.Range) *topic {
	var t *topic
	if r.Below {
		t, _ = ts.prefixes.Get([]byte(r.Key))
	} else {
		t = ts.keys[r.Key]
	}
	if t != nil {
		t.idle, t.waited = false, true
		return t
	}
	t = &topic{changed: make(chan struct{}), waited: true}
	key := strings.Clone(r.Key)
	if r.Below {
		ts.prefixes, _, _ = ts.prefixes.Insert([]byte(key), t)
	} else {
		ts.keys[key] = t
	}
	return t
}

// wake wakes those who watch a range that key is in.
func (ts *topics) wake(key string, index uint64) {
	if t := ts.keys[key]; t != nil {
		close(t.changed)
		delete(ts.keys, key) // its index is found at once: the record has it
	}
	if ts.prefixes.Len() == 0 {
		return
	}
	ts.prefixes.Root().WalkPath([]byte(key), func(_ []byte, t *topic) bool {
		t.wake(index)
		return false
	})
}

func (ts *topics) drop(prefixes [][]byte) {
	for _, p := range prefixes {
		ts.prefixes, _, _ = ts.prefixes.Delete(p)
	}
}

func (ts *topics) wakeAll() {
	for _, t := range ts.keys {
		close(t.changed)
	}
	ts.prefixes.Root().Walk(func(_ []byte, t *topic) bool {
		close(t.changed)
		return false
	})
	*ts = newTopics()
}

func (ts *topics) age() {
	for key, t := range ts.keys {
		if t.idle {
			close(t.changed)
			delete(ts.keys, key)
		}
		t.idle = true
	}
	var old [][]byte
	ts.prefixes.Root().Walk(func(prefix []byte, t *topic) bool {
		if t.idle {
			close(t.changed)
			old = append(old, prefix)
		}
		t.idle = true
		return false
	})
	ts.drop(old)
}
