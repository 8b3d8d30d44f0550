package consul

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

func (q *request) kv() error {
	switch q.r.Method {
	case http.MethodPut:
		return q.kvPut()
	case http.MethodDelete:
		return q.kvDelete()
	}
	return q.kvGet()
}

func missingKey() error { return badRequest("Missing key name") }

func (q *request) kvGet() error {
	keys, recurse := q.p.has("keys"), q.p.has("recurse")
	if q.rest == "" && !keys && !recurse {
		return missingKey()
	}
	if err := q.kvReadable(keys || recurse); err != nil {
		return err
	}
	if err := q.kvReady(keys || recurse); err != nil {
		return err
	}
	switch {
	case keys:
		return q.kvKeys()
	case recurse:
		return q.kvList()
	}
	return q.kvOne()
}

// kvReady waits until the answer is due and may be given.
func (q *request) kvReady(below bool) error {
	if err := q.p.query(); err != nil {
		return err
	}
	if err := q.synced(); err != nil {
		return err
	}
	keys, key := q.f.b.Keys, q.rest
	if below && q.narrowedKeys(key) {
		gate, token, seen := q.f.b.Gate, q.p.token, &q.f.seenKV // a parked request outlives q
		return q.beyond(func() (uint64, <-chan struct{}) {
			at, changed := keys.Watch(key, true)
			who, err := gate.Identify(token)
			if err != nil {
				return at, changed // whileKnown ends the wait
			}
			return seen.keysBelow(keys, who, key, at), changed
		})
	}
	return q.beyond(func() (uint64, <-chan struct{}) { return keys.Watch(key, below) })
}

func (q *request) kvOne() error {
	e, err := q.f.b.Keys.Get(q.rest)
	if err != nil {
		return err
	}
	if e == nil {
		index := q.f.b.Keys.Changed(q.rest, false)
		q.meta(index)
		q.w.WriteHeader(http.StatusNotFound)
		return nil
	}
	q.meta(e.Modified)
	if q.p.has("raw") {
		return q.kvRaw(e)
	}
	body := make([]byte, 0, 160+len(e.Key)+len(e.Session)+base64.StdEncoding.EncodedLen(len(e.Value)))
	body = append(appendEntry(append(body, '['), e), ']')
	q.send(http.StatusOK, body, nil)
	return nil
}

// kvRaw answers with the value's bytes. Browsers must not guess their type.
func (q *request) kvRaw(e *skerry.KeyValue) error {
	h := q.w.Header()
	h["Content-Type"] = typeText
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
	h["Content-Length"] = []string{strconv.Itoa(len(e.Value))}
	q.w.WriteHeader(http.StatusOK)
	q.w.Write(e.Value)
	return nil
}

// kvReadable checks the permission to read. Lists leave out keys that the caller may not
// read, unless listing is a permission of its own.
func (q *request) kvReadable(list bool) error {
	switch {
	case !list:
		return q.must(skerry.ResourceKey, q.rest, skerry.AccessRead)
	case q.f.cfg.KeyList:
		return q.must(skerry.ResourceKey, q.rest, skerry.AccessList)
	}
	return nil
}

// unnamed removes the name of a damaged key from an error if the caller may not read it.
func (q *request) unnamed(err error) error {
	var e *skerry.Error
	if errors.As(err, &e) && e.Subject == "store" && e.ID != "" && !q.readsKey(strings.TrimPrefix(e.ID, "kv/")) {
		return serverError("a record below this prefix is damaged in the store; the server's log names it")
	}
	return err
}

// appendEntry appends an entry as JSON, in Consul's order of the fields.
func appendEntry(b []byte, e *skerry.KeyValue) []byte {
	b = append(b, `{"LockIndex":`...)
	b = strconv.AppendUint(b, e.LockIndex, 10)
	b = append(b, `,"Key":`...)
	b = appendString(b, e.Key)
	b = append(b, `,"Flags":`...)
	b = strconv.AppendUint(b, e.Flags, 10)
	b = append(b, `,"Value":`...)
	if len(e.Value) == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, e.Value)
		b = append(b, '"')
	}
	if e.Session != "" {
		b = append(b, `,"Session":`...)
		b = appendString(b, e.Session)
	}
	b = append(b, `,"CreateIndex":`...)
	b = strconv.AppendUint(b, e.Created, 10)
	b = append(b, `,"ModifyIndex":`...)
	b = strconv.AppendUint(b, e.Modified, 10)
	return append(b, '}')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// conflicting returns an error if the request has more than one of the parameters.
func (q *request) conflicting(names ...string) error {
	given := url.Values{}
	for _, n := range names {
		if q.p.has(n) {
			given[n] = q.p.values[n][:1]
		}
	}
	if len(given) > 1 {
		return badRequest("Conflicting flags: " + given.Encode() + "\n")
	}
	return nil
}

func (q *request) kvPut() error {
	if q.rest == "" {
		return missingKey()
	}
	if err := q.conflicting("cas", "acquire", "release"); err != nil {
		return err
	}
	if err := q.must(skerry.ResourceKey, q.rest, skerry.AccessWrite); err != nil {
		return err
	}
	op := skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: strings.Clone(q.rest)}}
	var cas bool
	var err error
	if op.Flags, _, err = q.number("flags"); err != nil {
		return err
	}
	if op.Modified, cas, err = q.number("cas"); err != nil {
		return err
	}
	switch {
	case cas:
		op.Action = skerry.KeyCAS
	case q.p.has("acquire"):
		op.Action, op.Session = skerry.KeyAcquire, q.p.get("acquire")
	case q.p.has("release"):
		op.Action, op.Session = skerry.KeyRelease, q.p.get("release")
	}
	if op.Value, err = q.body(q.f.cfg.MaxValue, "kv_max_value_size"); err != nil {
		return err
	}
	return q.kvWrite(op)
}

// body reads the request's body up to a limit, which is set by key in the configuration.
func (q *request) body(limit int64, key string) ([]byte, error) {
	tooLarge := func(n int64) error {
		return status(http.StatusRequestEntityTooLarge, fmt.Sprintf("Request body(%d bytes) too large, max size: %d bytes. See limits.%s.", n, limit, key))
	}
	if q.r.ContentLength > limit {
		return nil, tooLarge(q.r.ContentLength)
	}
	b, err := wire.ReadAll(io.LimitReader(q.r.Body, limit+1), q.r.ContentLength)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, badRequest("the body ended early: " + err.Error())
	}
	if err != nil {
		return nil, wire.DecodeError(err)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge(int64(len(b)))
	}
	return b, nil
}

func (q *request) kvWrite(op skerry.KeyOp) error {
	if q.hiddenSession(op.Session) {
		if op.Action == skerry.KeyAcquire {
			return serverError(invalidSession(op.Session))
		}
		return q.json(false)
	}
	done, err := q.f.b.Keys.Write(q.r.Context(), op)
	var e *skerry.Error
	if errors.As(err, &e) && e.Subject == "session" {
		return serverError("raft apply failed: " + e.Message)
	}
	if err != nil {
		return err
	}
	return q.json(done)
}

func (q *request) kvDelete() error {
	recurse := q.p.has("recurse")
	if q.rest == "" && !recurse {
		return missingKey()
	}
	if err := q.conflicting("recurse", "cas"); err != nil {
		return err
	}
	if err := q.mustDelete(recurse); err != nil {
		return err
	}
	op := skerry.KeyOp{Action: skerry.KeyDelete, KeyValue: skerry.KeyValue{Key: q.rest}}
	cas, given, err := q.number("cas")
	switch {
	case err != nil:
		return err
	case given:
		op.Action, op.Modified = skerry.KeyDeleteCAS, cas
	case recurse:
		op.Action = skerry.KeyDeleteAll
	}
	return q.kvWrite(op)
}

func (q *request) mustDelete(recurse bool) error {
	if recurse {
		return q.mustBelow(skerry.ResourceKey, q.rest, skerry.AccessWrite)
	}
	return q.must(skerry.ResourceKey, q.rest, skerry.AccessWrite)
}
