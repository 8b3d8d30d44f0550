package replica

import (
	"slices"
	"strings"
)

// maxRecent is the number of changes that are remembered one by one.
const maxRecent = 1 << 14

// recent remembers the keys that changed last, so that followers of a part of the
// table need not read all of it at every change.
type recent struct {
	keys    []recentKey // by index
	unknown uint64      // changes below this index may be missing
}

type recentKey struct {
	key   string
	index uint64
}

func (r *recent) add(key string, index uint64) {
	if len(r.keys) >= maxRecent {
		half := len(r.keys) / 2
		r.unknown = r.keys[half-1].index + 1
		r.keys = slices.Clone(r.keys[half:])
	}
	r.keys = append(r.keys, recentKey{key, index})
}

// forget starts over at an index at which the whole table was replaced.
func (r *recent) forget(index uint64) { r.keys, r.unknown = nil, index+1 }

// Changes implements [skerry.Feed].
func (t *Table) Changes(prefix string, since uint64) (keys []string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since < t.recent.unknown {
		return nil, false
	}
	from, _ := slices.BinarySearchFunc(t.recent.keys, since+1, func(k recentKey, index uint64) int {
		switch {
		case k.index < index:
			return -1
		case k.index > index:
			return 1
		}
		return 0
	})
	seen := map[string]bool{}
	for _, k := range t.recent.keys[from:] {
		if strings.HasPrefix(k.key, prefix) && !seen[k.key] {
			seen[k.key] = true
			keys = append(keys, k.key)
		}
	}
	return keys, true
}
