package door

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/door/tally"
)

// The bounds of one request, in bytes unless stated otherwise. They are checked
// before anything is parsed, kept or logged.
const (
	MaxHeader     = 128 << 10 // request line and headers; http_config.max_header_bytes
	MaxPath       = 64 << 10  // decoded; Consul takes keys as long
	MaxQuery      = 128 << 10
	MaxParameter  = 4 << 10 // one parameter as it was sent, except filter
	MaxParameters = 512     // their number
	MaxToken      = 16 << 10
	MaxFields     = 256 // number of header fields
)

// The times that the body of a request may take.
const (
	bodyWithin = time.Minute      // its first bodyFirst bytes
	bodyFirst  = 4 << 20          // most bodies are no longer
	bodyPause  = 30 * time.Second // between two parts of the rest
)

// Budget refuses requests beyond the bounds, and passes on the rest.
type Budget struct {
	next    http.Handler
	streams *tally.Tally // requests under way over HTTP/2: the limit on connections does not see them
	most    int
	refused *prometheus.CounterVec
}

// NewBudget returns a handler that refuses requests beyond the bounds. streamsPerClient is
// the most concurrent HTTP/2 requests of one address, -1: no limit. refused counts by the
// exceeded bound.
func NewBudget(next http.Handler, streamsPerClient int, refused *prometheus.CounterVec) *Budget {
	return &Budget{next: next, streams: tally.New(streamsPerClient), most: streamsPerClient, refused: refused}
}

func newRefused(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_http_over_budget_total", Help: "Requests that were refused for their size or number, by the exceeded bound.",
	}, []string{"part"})
	reg.MustRegister(c)
	return c
}

// Budget returns a handler that refuses requests that other processes pass on beyond the bounds of one request, as those of clients.
func (d *Door) Budget(next http.Handler) http.Handler { return NewBudget(next, -1, d.refused) }

// ServeHTTP implements [http.Handler].
func (b *Budget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if part, status, text := excess(r); part != "" {
		b.refuse(w, part, status, text)
		return
	}
	if r.ProtoMajor >= 2 {
		if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil { // no unix socket
			client := ap.Addr().Unmap()
			if !b.streams.Enter(client) {
				w.Header().Set("Retry-After", "1")
				b.refuse(w, "streams", http.StatusTooManyRequests, fmt.Sprintf("too many requests of this address are under way over HTTP/2: at most %d may be", b.most))
				return
			}
			defer b.streams.Leave(client)
		}
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = newTimedBody(w, r)
	}
	b.next.ServeHTTP(w, r)
}

func (b *Budget) refuse(w http.ResponseWriter, part string, status int, text string) {
	b.refused.WithLabelValues(part).Inc()
	// The connection may hold more of the same.
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// excess returns the part of a request that is beyond its bound, or "".
func excess(r *http.Request) (part string, status int, text string) {
	if n := len(r.URL.Path); n > MaxPath {
		return "path", http.StatusRequestURITooLong, fmt.Sprintf("the path has %d bytes; at most %d are allowed", n, MaxPath)
	}
	if len(r.Header) > MaxFields {
		return "headers", http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request has %d header fields; at most %d are allowed", len(r.Header), MaxFields)
	}
	for _, name := range [...]string{"X-Consul-Token", "Authorization"} {
		if h := r.Header[name]; len(h) > 0 && len(h[0]) > MaxToken {
			return "token", http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the header %s has %d bytes; at most %d are allowed", name, len(h[0]), MaxToken)
		}
	}
	if n := len(r.URL.RawQuery); n > MaxQuery {
		return "query", http.StatusRequestURITooLong, fmt.Sprintf("the query has %d bytes; at most %d are allowed", n, MaxQuery)
	}
	if text := excessParameters(r.URL.RawQuery); text != "" {
		return "query", http.StatusBadRequest, text
	}
	return "", 0, ""
}

// excessParameters returns the bound that the parameters of a query exceed, or "".
func excessParameters(query string) string {
	if len(query) < MaxParameters {
		return "" // it is too short for either bound
	}
	n := 0
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if n++; n > MaxParameters {
			return fmt.Sprintf("the query has more than %d parameters", MaxParameters)
		}
		if len(pair) > MaxParameter && !strings.HasPrefix(pair, "filter=") {
			name, _, _ := strings.Cut(pair, "=")
			return fmt.Sprintf("the parameter %.40q has %d bytes; at most %d are allowed", name, len(pair), MaxParameter)
		}
	}
	return ""
}

// timedBody is a body that must arrive in time. The time ends with the body, since
// net/http reads on to detect that the client disconnects.
type timedBody struct {
	io.ReadCloser
	c    *http.ResponseController
	read int64
	done bool
}

func newTimedBody(w http.ResponseWriter, r *http.Request) *timedBody {
	b := &timedBody{ReadCloser: r.Body, c: http.NewResponseController(w)}
	b.c.SetReadDeadline(time.Now().Add(bodyWithin))
	return b
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	if b.read > bodyFirst && !b.done {
		b.c.SetReadDeadline(time.Now().Add(bodyPause))
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err != nil && !b.done {
		b.done = true
		if err == io.EOF {
			b.c.SetReadDeadline(time.Time{})
		}
	}
	return n, err
}
