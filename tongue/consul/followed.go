package consul

import (
	"net/http"
	"strconv"
	"time"
)

// followed reports whether an agent answers a query itself, from a view that it follows. A service that is asked for the
// first time is followed from then on.
func (q *request) followed() bool {
	p := &q.p
	if p.consistent || p.near != "" || p.peer != "" || q.rest == "" || !q.knows(p.dc) {
		return false
	}
	_, _, err := q.f.b.Discovery.Service(q.r.Context(), q.rest)
	return err == nil
}

// stale sets the header for the age of an answer, in whole seconds.
func (q *request) stale(age time.Duration) {
	if age >= time.Second {
		q.w.Header()["X-Skerry-Stale"] = []string{strconv.Itoa(int(age.Seconds()))}
	}
}

// told is the answer of a server to a request that may have changed services. The agent hears of it before
// the caller does, so that its next question has the change.
type told struct {
	http.ResponseWriter
	written func()
}

// WriteHeader implements [http.ResponseWriter].
func (w *told) WriteHeader(status int) {
	w.written()
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (w *told) Unwrap() http.ResponseWriter { return w.ResponseWriter }
