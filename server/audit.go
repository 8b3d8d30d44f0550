package server

import (
	"cmp"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door/recorder"
	"github.com/skerryhq/skerry/tongue/consul"
)

// noteDoor notes in the audit log what is refused before it comes to an endpoint, and
// what is beside the API: an endpoint claims its request and notes it itself.
func noteDoor(next http.Handler, log consul.AuditLog) http.Handler {
	if log == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &doorWriter{}
		d.Recorder = recorder.Recorder{ResponseWriter: w, Explains: func(status int) bool { return !d.claimed && status >= http.StatusBadRequest }}
		defer func() {
			status := cmp.Or(d.Status, http.StatusOK) // net/http says so
			if !d.claimed && log.Wants(r.Method, status) {
				log.Note(skerry.Act{
					Time: time.Now().UTC(), From: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Status: status, Reason: d.Reason,
				})
			}
		}()
		next.ServeHTTP(d, r)
	})
}

// doorWriter remembers how a request was answered that no endpoint claimed.
type doorWriter struct {
	recorder.Recorder
	claimed bool
}

// Claim says that the request is noted by whoever answers it.
func (d *doorWriter) Claim() { d.claimed = true }
