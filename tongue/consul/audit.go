package consul

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
)

// AuditLog notes who did what.
type AuditLog interface {
	// Wants reports whether a request with this method and answer is noted.
	Wants(method string, status int) bool
	Note(skerry.Act)
}

// claimer is a writer that notes requests which nobody claims.
type claimer interface{ Claim() }

// audited answers a request, and notes it where an audit log is kept: also when its
// client has gone meanwhile, or the endpoint panics.
func (q *request) audited(answer func()) {
	log := q.t.b.Audit
	if log == nil {
		answer()
		return
	}
	if c, ok := q.w.(claimer); ok {
		c.Claim()
	}
	w := &statusWriter{ResponseWriter: q.w}
	q.w = w
	whole := false
	defer func() {
		if !w.taken {
			w.end(whole, q.r.Context().Err() != nil)
			q.noteIn(log, w)
		}
	}()
	answer()
	whole = true
}

// statusGone is noted for a request whose client went away before it was answered, and
// statusFailed for one whose endpoint panicked.
const (
	statusGone   = 499
	statusFailed = 500
)

// end says what became of a request that was not answered.
func (w *statusWriter) end(whole, gone bool) {
	switch {
	case !whole:
		w.reason = "the answer was broken off"
		if w.status == 0 {
			w.status = statusFailed
		}
	case w.status == 0 && gone:
		w.status, w.reason = statusGone, "the client went away"
	case w.status == 0:
		w.status = http.StatusOK // net/http says so
	}
}

func (q *request) noteIn(log AuditLog, w *statusWriter) {
	if !log.Wants(q.r.Method, w.status) {
		return
	}
	act := skerry.Act{Time: time.Now().UTC(), From: q.r.RemoteAddr, Method: q.r.Method, Path: q.r.URL.Path, Status: w.status, Reason: w.reason}
	if q.who != nil {
		act.Accessor = q.who.Accessor()
	}
	log.Note(act)
}

// statusWriter remembers how a request was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
	reason string
	taken  bool // its connection was taken over: it is answered and noted elsewhere
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.status == http.StatusForbidden && w.reason == "" {
		w.reason = string(b)
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements [http.Flusher].
func (w *statusWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack implements [http.Hijacker].
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.taken = err == nil
	return conn, rw, err
}
