package replica

import (
	"strings"

	"github.com/hashicorp/go-immutable-radix/v2"

	"github.com/skerryhq/skerry"
)

// topic is a range with watchers, or a prefix that had some recently.
type topic struct {
	of       skerry.Range
	changed  chan struct{} // nil: no watcher
	watchers int           // calls of Watch that returned changed
	last     uint64        // index of the range's last change; 0: not computed yet
}

// The bounds of the prefixes without watchers whose index is remembered. A woken
// client asks again, and computing the index needs all records below the prefix.
const (
	maxIdle       = 1024
	maxIdlePrefix = 4 << 10 // bytes
)

// topics finds the watched ranges that hold a key without visiting the others: by
// one look-up of the key and one walk down a radix tree of prefixes. A topic is
// removed with its last watcher.
type topics struct {
	keys     map[string]*topic
	prefixes *iradix.Tree[*topic]
	watched  map[<-chan struct{}]*topic
	idle     []*topic // the oldest first; some are watched again
}

func newTopics() topics {
	return topics{keys: map[string]*topic{}, prefixes: iradix.New[*topic](), watched: map[<-chan struct{}]*topic{}}
}

// find returns the topic of a range, or nil.
func (ts *topics) find(r skerry.Range) *topic {
	if !r.Below {
		return ts.keys[r.Key]
	}
	t, _ := ts.prefixes.Get([]byte(r.Key))
	return t
}

// watch adds a watcher to the topic of a range and returns it.
func (ts *topics) watch(r skerry.Range) *topic {
	t := ts.find(r)
	if t == nil {
		r.Key = strings.Clone(r.Key)
		t = &topic{of: r}
		if r.Below {
			ts.prefixes, _, _ = ts.prefixes.Insert([]byte(r.Key), t)
		} else {
			ts.keys[r.Key] = t
		}
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
		ts.watched[t.changed] = t
	}
	t.watchers++
	return t
}

// unwatch removes one watcher from the topic with this channel.
func (ts *topics) unwatch(changed <-chan struct{}) {
	t := ts.watched[changed]
	if t == nil {
		return // it was woken
	}
	if t.watchers--; t.watchers == 0 {
		ts.rest(t)
	}
}

// rest notes that a topic has no watcher any more.
func (ts *topics) rest(t *topic) {
	delete(ts.watched, t.changed)
	t.changed, t.watchers = nil, 0
	switch {
	case !t.of.Below:
		delete(ts.keys, t.of.Key) // the record has its index
		return
	case len(t.of.Key) > maxIdlePrefix || t.last == 0:
		ts.drop(t)
		return
	}
	ts.idle = append(ts.idle, t)
	if len(ts.idle) > maxIdle {
		old := ts.idle[0]
		ts.idle[0] = nil
		ts.idle = ts.idle[1:]
		if old.changed == nil {
			ts.drop(old)
		}
	}
}

// drop removes a prefix, unless it has a newer topic.
func (ts *topics) drop(t *topic) {
	if ts.find(t.of) == t {
		ts.prefixes, _, _ = ts.prefixes.Delete([]byte(t.of.Key))
	}
}

// wake wakes the watchers of all ranges that hold key.
func (ts *topics) wake(key string, index uint64) {
	if t := ts.keys[key]; t != nil {
		close(t.changed)
		ts.rest(t)
	}
	if ts.prefixes.Len() == 0 {
		return
	}
	ts.prefixes.Root().WalkPath([]byte(key), func(_ []byte, t *topic) bool {
		t.last = index
		if t.changed != nil {
			close(t.changed)
			ts.rest(t)
		}
		return false
	})
}

func (ts *topics) wakeAll() {
	for _, t := range ts.watched {
		close(t.changed)
	}
	*ts = newTopics()
}
