package consul

import (
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
