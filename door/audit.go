package door

import (
	"cmp"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door/recorder"
)

// noteDoor notes requests in the audit log that are refused before they reach an
// endpoint, or that are outside the API. An endpoint claims its request and notes it itself.
func noteDoor(next http.Handler, log skerry.AuditLog) http.Handler {
	if log == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &doorWriter{}
		d.Recorder = recorder.Recorder{ResponseWriter: w, Explains: func(status int) bool { return !d.claimed && status >= http.StatusBadRequest }}
		defer func() {
			status := cmp.Or(d.Status, http.StatusOK) // the default of net/http
			if !d.claimed && log.Wants(r.Method, status) {
				log.Note(skerry.Act{
					Time: time.Now().UTC(), From: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Status: status, Reason: d.Reason,
				})
			}
		}()
		next.ServeHTTP(d, r)
	})
}

// doorWriter remembers the answer to a request, and whether an endpoint claimed it.
type doorWriter struct {
	recorder.Recorder
	claimed bool
}

// Claim marks the request as noted by its handler.
func (d *doorWriter) Claim() { d.claimed = true }
