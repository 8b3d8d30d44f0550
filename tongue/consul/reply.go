package consul

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// Header values that never change are made once. Keys are in canonical form, since they
// are set without the methods of http.Header.
var (
	varyEncoding = []string{"Accept-Encoding"}
	aclAllow     = []string{"allow"}
	aclDeny      = []string{"deny"}
	typeJSON     = []string{"application/json"}
	typeJSONUTF8 = []string{"application/json; charset=utf-8"}
	typeText     = []string{"text/plain; charset=utf-8"}
	isTrue       = []string{"true"}
	isFalse      = []string{"false"}
	zero         = []string{"0"}
	blockingKind = []string{"blocking-query"}
	gzipped      = []string{"gzip"}
	leaderMode   = []string{"leader"}
	staleMode    = []string{"stale"}
	strictMode   = []string{"consistent"}
)

// status returns an error whose status is not that of its kind.
func status(code int, text string) error { return &wire.Error{Status: code, Text: text} }

func badRequest(text string) error    { return wire.BadRequest(text) }
func serverError(text string) error   { return status(http.StatusInternalServerError, text) }
func notFoundError(text string) error { return status(http.StatusNotFound, text) }

// statuses maps error kinds to statuses. Consul answers many errors of the client with
// 500; those endpoints return that status themselves.
var statuses = map[skerry.Kind]int{
	skerry.Internal:    http.StatusInternalServerError,
	skerry.Invalid:     http.StatusBadRequest,
	skerry.NotFound:    http.StatusNotFound,
	skerry.Conflict:    http.StatusConflict,
	skerry.Denied:      http.StatusForbidden,
	skerry.Exhausted:   http.StatusTooManyRequests,
	skerry.Unavailable: http.StatusInternalServerError,
	skerry.Unsupported: http.StatusNotImplemented,
}

// fail sends an error with Consul's status and wording.
func (q *request) fail(err error) {
	if q.r.Context().Err() != nil {
		return // the client is gone
	}
	var unasked bareError
	if q.route.metaOnError && q.r.Method == http.MethodGet && !errors.As(err, &unasked) {
		q.meta(1)
		q.w.Header()["X-Consul-Knownleader"] = isFalse
		delete(q.w.Header(), "X-Consul-Effective-Consistency")
	}
	if unasked.error != nil {
		err = unasked.error
	}
	if errors.Is(err, wire.ErrScript) {
		q.hintInLog("Script", "an old client's check with Script was refused; set legacy_api = true to allow it")
	}
	var (
		told *wire.Error
		e    *skerry.Error
	)
	switch {
	case errors.As(err, &told):
		q.text(told.Status, told.Text)
	case errors.As(err, &e):
		text, status := e.Message, statuses[e.Kind]
		if err != error(e) {
			text = err.Error()
		}
		if a := q.passedOn(); e.Kind == skerry.Unavailable && a != nil && a.Made != nil {
			q.w.Header().Set("Retry-After", "1") // another server may have a majority
		}
		if e.Kind == skerry.Exhausted && e.Subject == "store" {
			status = http.StatusInternalServerError // not the caller's fault, and not temporary
		}
		if e.Kind == skerry.NotFound {
			switch e.Subject {
			case "service", "check":
				text = "Unknown " + e.Subject + " ID " + strconv.Quote(e.ID) + ". Ensure that the " + e.Subject + " ID is passed, not the " + e.Subject + " name."
			case "check's service":
				text = "ServiceID " + strconv.Quote(e.ID) + " does not exist"
			}
		}
		q.text(status, text)
	default:
		q.f.cfg.Log.Error("request failed", "method", q.r.Method, "path", q.r.URL.Path, "error", err)
		q.text(http.StatusInternalServerError, err.Error())
	}
}

func (q *request) text(status int, text string) {
	h := q.w.Header()
	h["Content-Type"] = typeText
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	q.w.WriteHeader(status)
	io.WriteString(q.w, text)
}

// empty sends a success without a body.
func (q *request) empty() {
	q.w.Header()["Content-Type"] = typeJSONUTF8
	q.w.WriteHeader(http.StatusOK)
}

// meta sets the headers of a blocking endpoint.
func (q *request) meta(index uint64) {
	h := q.w.Header()
	h["X-Consul-Index"] = []string{strconv.FormatUint(max(index, 1), 10)}
	q.contact(h)
	if !q.route.lean {
		h["X-Consul-Query-Backend"] = blockingKind
	}
	if q.route.plain {
		return
	}
	h["X-Consul-Effective-Consistency"] = q.consistency()
}

// cause sets the headers for the number of guarded entries and for the cause of an empty
// answer. It calls why only if the answer is empty.
func (q *request) cause(v *skerry.View, kept int, why func() skerry.Cause) {
	if v.Guarded > 0 {
		q.w.Header()["X-Skerry-Guarded"] = []string{strconv.Itoa(v.Guarded)}
	}
	if kept > 0 {
		return
	}
	if c := why(); c != skerry.CauseNone {
		q.w.Header()["X-Skerry-Empty-Cause"] = []string{string(c)}
	}
}

// emptied returns a function for the cause of an empty result, among the entries that the
// caller may see.
func (q *request) emptied(v *skerry.View, p skerry.Pipeline) func() skerry.Cause {
	return func() skerry.Cause {
		if q.who != nil {
			p = append(skerry.Pipeline{q.allowed()}, p...)
		}
		return v.EmptyCause(p)
	}
}

// json sends v.
func (q *request) json(v any) error {
	return q.jsonStatus(http.StatusOK, v)
}

func (q *request) jsonStatus(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q.send(status, body, nil)
	return nil
}

// send sends encoded JSON. packed is the same compressed, or nil.
func (q *request) send(status int, body, packed []byte) {
	q.sendAs(typeJSON, status, body, packed)
}

func (q *request) sendAs(contentType []string, status int, body, packed []byte) {
	h := q.w.Header()
	h["Content-Type"] = contentType
	if q.p.pretty || q.f.cfg.Dev {
		var out bytes.Buffer
		if json.Indent(&out, body, "", "    ") == nil {
			body, packed = out.Bytes(), nil
		}
	}
	if len(body) >= minPacked && acceptsGzip(q.r) {
		if packed == nil {
			packed = compress(body)
		}
		h["Content-Encoding"] = gzipped
		body = packed
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	q.w.WriteHeader(status)
	q.w.Write(body)
}

// minPacked is the least size, in bytes, of a body that is compressed. A smaller one fits
// into a packet anyway, and compressing it costs more than the rest of most requests.
const minPacked = 1400

func acceptsGzip(r *http.Request) bool {
	accept := r.Header["Accept-Encoding"]
	return len(accept) > 0 && strings.Contains(accept[0], "gzip")
}

var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(body []byte) []byte {
	var out bytes.Buffer
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(&out)
	w.Write(body)
	w.Close()
	return out.Bytes()
}

// bareError is the error of a request that Consul refuses before any look-up: its answer
// has no index headers.
type bareError struct{ error }

func (e bareError) Unwrap() error { return e.error }

// bare marks err as an answer without index headers; nil stays nil.
func bare(err error) error {
	if err == nil {
		return nil
	}
	return bareError{err}
}

// invalidSession is the store's message about a session that does not exist.
func invalidSession(id string) string {
	return fmt.Sprintf("raft apply failed: invalid session %q", id)
}

// hidden replaces a secret that is not shown.
const hidden = "<hidden>"

// flush sends the bytes that were written.
func flush(w io.Writer) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// hexDigest is a digest as it is shown.
func hexDigest(d uint64) string { return strconv.FormatUint(d, 16) }

// noteAnnounced marks the answer to a change of this agent's own set while no server can be told.
func (q *request) noteAnnounced() {
	if q.f.b.Attached != nil && q.f.b.Attached().Server == "" {
		q.w.Header().Set("X-Skerry-Announced", "false")
	}
}
