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
		t.idle = false
		return t
	}
	t = &topic{changed: make(chan struct{})}
	key := strings.Clone(r.Key)
	if r.Below {
		ts.prefixes, _, _ = ts.prefixes.Insert([]byte(key), t)
	} else {
		ts.keys[key] = t
	}
	return t
}

// wake wakes those who watch a range that key is in.
func (ts *topics) wake(key string) {
	if t := ts.keys[key]; t != nil {
		close(t.changed)
		delete(ts.keys, key)
	}
	if ts.prefixes.Len() == 0 {
		return
	}
	var woken [][]byte
	ts.prefixes.Root().WalkPath([]byte(key), func(prefix []byte, t *topic) bool {
		close(t.changed)
		woken = append(woken, prefix)
		return false
	})
	ts.drop(woken)
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
