package consul

import (
	"net/http"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

func (q *request) kvList() error {
	get := q.t.lists.get
	known := q.indexBelow()
	if q.who != nil && !q.who.AllowsBelow(skerry.ResourceKey, q.rest, skerry.AccessRead) {
		get = unshared
	}
	body, index, err := get(q, func() ([]byte, uint64, error) {
		entries, index, err := q.t.b.Keys.List(q.rest, q.seesKeys())
		entries = visible(q, entries, func(e skerry.KeyValue) bool { return q.readsKey(e.Key) })
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
		return q.unnamed(err)
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

// indexBelow is the index of the prefix for an asker that does not see all keys below it; 0
// for the others. It is asked for before the keys, which then are at least as new.
func (q *request) indexBelow() uint64 {
	if !q.narrowedKeys(q.rest) {
		return 0
	}
	keys := q.t.b.Keys
	return q.t.seenKV.keysBelow(keys, q.who, q.rest, keys.Changed(q.rest, true))
}

func (q *request) kvKeys() error {
	separator, known := q.p.get("separator"), q.indexBelow()
	cutAt := separator
	if known != 0 {
		cutAt = "" // a folder is there if a key in it is seen
	}
	keys, index, err := q.t.b.Keys.Keys(q.rest, cutAt, q.seesKeys())
	if err != nil {
		return q.unnamed(err)
	}
	keys = visible(q, keys, q.readsKey)
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

// seesKeys accepts the keys that the asker may see where others are hidden: a damaged
// one among those is as absent as a sound one. Elsewhere it is nil.
func (q *request) seesKeys() func(key string) bool {
	if !q.narrowedKeys(q.rest) {
		return nil
	}
	return q.readsKey
}

// readsKey reports whether the asker may read a key.
func (q *request) readsKey(key string) bool {
	return q.may(skerry.ResourceKey, key, skerry.AccessRead)
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
