package consul

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

func (q *request) kvList() error {
	get := q.t.lists.get
	known := q.indexBelow()
	if q.who != nil && !q.who.AllowsBelow(skerry.ResourceKey, q.rest, skerry.AccessRead) {
		get = unshared
	}
	body, index, err := get(q, func() ([]byte, uint64, error) {
		entries, index, err := q.t.b.Keys.List(q.rest)
		entries = visible(q, entries, func(e skerry.KeyValue) bool { return q.may(skerry.ResourceKey, e.Key, skerry.AccessRead) })
		if err != nil || len(entries) == 0 {
			return nil, index, err
		}
		body := []byte{'['}
		for i := range entries {
			if i > 0 {
				body = append(body, ',')
			}
			body = appendEntry(body, &entries[i])
		}
		return append(body, ']'), index, nil
	})
	if err != nil {
		return err
	}
	if known != 0 {
		index = known
	}
	q.meta(index)
	if body == nil {
		q.w.WriteHeader(http.StatusNotFound)
		return nil
	}
	q.send(http.StatusOK, body, nil)
	return nil
}

// indexBelow is the index of the prefix for one who does not see all keys below it; 0
// for the others. It is asked for before the keys, which then are at least as new.
func (q *request) indexBelow() uint64 {
	if !q.narrowedKeys(q.rest) {
		return 0
	}
	index, _ := q.t.seenKV.keysBelow(q.t.b.Keys, q.who, q.rest)
	return index
}

func (q *request) kvKeys() error {
	separator, known := q.p.get("separator"), q.indexBelow()
	sees := func(key string) bool { return q.may(skerry.ResourceKey, key, skerry.AccessRead) }
	cutAt := separator
	if known != 0 {
		cutAt = "" // a folder is there for who sees a key in it
	}
	keys, index := q.t.b.Keys.Keys(q.rest, cutAt)
	keys = visible(q, keys, sees)
	if known != 0 {
		keys, index = foldersOf(keys, q.rest, separator), known
	}
	q.meta(index)
	if len(keys) == 0 && q.rest != "" {
		q.w.WriteHeader(http.StatusNotFound)
		return nil
	}
	return q.json(keys)
}

// foldersOf cuts sorted keys after the first separator behind the prefix, each once.
func foldersOf(keys []string, prefix, separator string) []string {
	if separator == "" {
		return keys
	}
	cut := make([]string, len(keys))
	for i, key := range keys {
		cut[i] = key
		if at := strings.Index(key[len(prefix):], separator); at >= 0 {
			cut[i] = key[:len(prefix)+at+len(separator)]
		}
	}
	return slices.Compact(cut)
}

// unshared renders an answer for one asker alone.
func unshared(_ *request, render func() ([]byte, uint64, error)) ([]byte, uint64, error) {
	return render()
}

// lists are the encoded answers of prefixes that are watched: when many wait for
// one prefix, a change is encoded once.
type lists struct {
	mu   sync.Mutex
	kept []list
}

type list struct {
	key   string
	index uint64
	body  []byte
}

// maxLists and maxListBytes bound what is kept.
const (
	maxLists     = 32
	maxListBytes = 1 << 20
)

// get returns the answer for a prefix; only those of blocking queries are kept.
func (l *lists) get(q *request, render func() ([]byte, uint64, error)) ([]byte, uint64, error) {
	if q.p.index == 0 {
		return render()
	}
	key := q.rest
	now, _ := q.t.b.Keys.Watch(key, true)
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.kept, func(one list) bool { return one.key == key })
	if at >= 0 && l.kept[at].index == now {
		return l.kept[at].body, now, nil
	}
	body, index, err := render()
	if err != nil || len(body) > maxListBytes {
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
