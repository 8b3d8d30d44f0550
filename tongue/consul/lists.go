package consul

import (
	"slices"
	"strings"
	"sync"
)

type list struct {
	key   string
	index uint64
	body  []byte
}

// maxLists and maxListBytes bound the answers that are kept.
const (
	maxLists     = 32
	maxListBytes = 1 << 20
	maxListKey   = 4 << 10
)

// get returns the answer for a prefix; only those of blocking queries are kept.
func (l *lists) get(q *request, render func() ([]byte, uint64, error)) ([]byte, uint64, error) {
	if q.p.index == 0 {
		return render()
	}
	key := q.rest
	now := q.f.b.Keys.Changed(key, true)
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.kept, func(one list) bool { return one.key == key })
	if at >= 0 && l.kept[at].index == now {
		return l.kept[at].body, now, nil
	}
	body, index, err := render()
	if err != nil || len(body) > maxListBytes || len(key) > maxListKey {
		return body, index, err
	}
	fresh := list{strings.Clone(key), index, body}
	switch {
	case at >= 0:
		l.kept[at] = fresh
	case len(l.kept) < maxLists:
		l.kept = append(l.kept, fresh)
	default:
		copy(l.kept, l.kept[1:])
		l.kept[maxLists-1] = fresh
	}
	return body, index, nil
}

// lists are the encoded answers of watched prefixes. For many waiters of one prefix, a
// change is encoded once.
type lists struct {
	mu   sync.Mutex
	kept []list
}
