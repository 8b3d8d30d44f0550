package consul

import (
	"net/http"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

func (q *request) kvList() error {
	get := q.f.lists.get
	known := q.indexBelow()
	if q.who != nil && !q.who.AllowsBelow(skerry.ResourceKey, q.rest, skerry.AccessRead) {
		get = unshared
	}
	body, index, err := get(q, func() ([]byte, uint64, error) {
		entries, index, err := q.f.b.Keys.List(q.rest, q.seesKeys())
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

// indexBelow returns the index of the prefix for a caller that does not see all keys below
// it; 0 for others. It is read before the keys, which then are at least as new.
func (q *request) indexBelow() uint64 {
	if !q.narrowedKeys(q.rest) {
		return 0
	}
	keys := q.f.b.Keys
	return q.f.seenKV.keysBelow(keys, q.who, q.rest, keys.Changed(q.rest, true))
}

func (q *request) kvKeys() error {
	separator, known := q.p.get("separator"), q.indexBelow()
	cutAt := separator
	if known != 0 {
		cutAt = "" // a folder exists if the caller sees a key in it
	}
	keys, index, err := q.f.b.Keys.Keys(q.rest, cutAt, q.seesKeys())
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

// seesKeys accepts the keys that the caller may see, if the gate hides the others, damaged
// ones included. Else it is nil.
func (q *request) seesKeys() func(key string) bool {
	if !q.narrowedKeys(q.rest) {
		return nil
	}
	return q.readsKey
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

// unshared renders an answer for one caller alone.
func unshared(_ *request, render func() ([]byte, uint64, error)) ([]byte, uint64, error) {
	return render()
}
