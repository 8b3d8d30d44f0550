package consul

import (
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door/recorder"
)

// claimer is a writer that notes unclaimed requests.
type claimer interface{ Claim() }

// audited answers a request, and notes it in the audit log, if any, even if the client has
// disconnected meanwhile or the endpoint panics.
func (q *request) audited(answer func()) {
	log := q.f.b.Audit
	if log == nil {
		answer()
		return
	}
	if c, ok := q.w.(claimer); ok {
		c.Claim()
	}
	w := &recorder.Recorder{ResponseWriter: q.w, Explains: func(status int) bool { return status == http.StatusForbidden }}
	q.w = w
	whole := false
	defer func() {
		if !w.Taken {
			ended(w, whole, q.r.Context().Err() != nil)
			q.noteIn(log, w)
		}
	}()
	answer()
	whole = true
}

// statusGone is noted for a request whose client disconnected before the answer, and
// statusFailed for one whose endpoint panicked.
const (
	statusGone   = 499
	statusFailed = 500
)

// ended sets the noted status of a request without an answer.
func ended(w *recorder.Recorder, whole, gone bool) {
	switch {
	case !whole:
		w.Reason = "the answer was broken off"
		if w.Status == 0 {
			w.Status = statusFailed
		}
	case w.Status == 0 && gone:
		w.Status, w.Reason = statusGone, "the client went away"
	case w.Status == 0:
		w.Status = http.StatusOK // the default of net/http
	}
}

func (q *request) noteIn(log skerry.AuditLog, w *recorder.Recorder) {
	if !log.Wants(q.r.Method, w.Status) {
		return
	}
	act := skerry.Act{Time: time.Now().UTC(), From: q.r.RemoteAddr, Method: q.r.Method, Path: q.r.URL.Path, Status: w.Status, Reason: w.Reason}
	if q.who != nil {
		act.Accessor = q.who.Accessor()
	}
	log.Note(act)
}
