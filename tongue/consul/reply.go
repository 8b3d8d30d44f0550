package consul

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// Header values that never change are made once. Keys are in canonical form,
// since they are set without http.Header's help.
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

// statusError is an error whose status is not the one of its kind.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func badRequest(text string) error { return &statusError{http.StatusBadRequest, text} }
func serverError(text string) error {
	return &statusError{http.StatusInternalServerError, text}
}
func notFoundError(text string) error { return &statusError{http.StatusNotFound, text} }

// statuses maps error kinds to statuses. Consul answers much with 500 that is
// the client's fault; where it does, the endpoint says so itself.
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
		return // nobody listens
	}
	if q.route.metaOnError && q.r.Method == http.MethodGet {
		q.meta(1)
		q.w.Header()["X-Consul-Knownleader"] = isFalse
		delete(q.w.Header(), "X-Consul-Effective-Consistency")
	}
	if errors.Is(err, errScript) {
		q.hintInLog("Script", "an old client's check with Script was refused; set legacy_api = true to allow it")
	}
	var (
		told *statusError
		e    *skerry.Error
	)
	switch {
	case errors.As(err, &told):
		q.text(told.status, told.text)
	case errors.As(err, &e):
		text, status := e.Message, statuses[e.Kind]
		if err != error(e) {
			text = err.Error()
		}
		if e.Kind == skerry.Exhausted && e.Subject == "store" {
			status = http.StatusInternalServerError // not the caller's fault, and no matter of a second
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
		q.t.cfg.Log.Error("request failed", "method", q.r.Method, "path", q.r.URL.Path, "error", err)
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

// empty is the answer of a success without a body.
func (q *request) empty() {
	q.w.Header()["Content-Type"] = typeJSONUTF8
	q.w.WriteHeader(http.StatusOK)
}

// meta sets the headers of a blocking endpoint.
func (q *request) meta(index uint64) {
	h := q.w.Header()
	h["X-Consul-Index"] = []string{strconv.FormatUint(max(index, 1), 10)}
	h["X-Consul-Knownleader"] = isTrue
	h["X-Consul-Lastcontact"] = zero
	if !q.route.lean {
		h["X-Consul-Query-Backend"] = blockingKind
	}
	if q.route.plain {
		return
	}
	switch {
	case q.p.stale:
		h["X-Consul-Effective-Consistency"] = staleMode
	case q.p.consistent:
		h["X-Consul-Effective-Consistency"] = strictMode
	default:
		h["X-Consul-Effective-Consistency"] = leaderMode
	}
}

// cause says why an answer is empty or holds what it would otherwise not hold. An empty
// one asks why it is.
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

// emptied returns why a query keeps nothing of a view, of what the asker may see.
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
	if q.p.pretty || q.t.cfg.Dev {
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

// minPacked is the size in bytes from which on a body is compressed: a smaller
// one fits a packet anyway, and compressing it costs more than the rest of most
// requests.
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
