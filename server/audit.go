package server

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul"
)

// noteDoor notes in the audit log what is refused before it comes to an endpoint, and
// what is beside the API: an endpoint claims its request and notes it itself.
func noteDoor(next http.Handler, log consul.AuditLog) http.Handler {
	if log == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &doorWriter{ResponseWriter: w}
		defer func() {
			if d.status == 0 {
				d.status = http.StatusOK // net/http says so
			}
			if !d.claimed && log.Wants(r.Method, d.status) {
				log.Note(skerry.Act{
					Time: time.Now().UTC(), From: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Status: d.status, Reason: d.reason,
				})
			}
		}()
		next.ServeHTTP(d, r)
	})
}

// doorWriter remembers how a request was answered that no endpoint claimed.
type doorWriter struct {
	http.ResponseWriter
	claimed bool
	status  int
	reason  string
}

// Claim says that the request is noted by whoever answers it.
func (d *doorWriter) Claim() { d.claimed = true }

// Unwrap is for [http.ResponseController].
func (d *doorWriter) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// Flush implements [http.Flusher].
func (d *doorWriter) Flush() { http.NewResponseController(d.ResponseWriter).Flush() }

// Hijack implements [http.Hijacker].
func (d *doorWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(d.ResponseWriter).Hijack()
}

// WriteHeader implements [http.ResponseWriter].
func (d *doorWriter) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
	d.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (d *doorWriter) Write(b []byte) (int, error) {
	if d.status == 0 {
		d.status = http.StatusOK
	}
	if !d.claimed && d.status >= http.StatusBadRequest && d.reason == "" {
		d.reason = string(b)
	}
	return d.ResponseWriter.Write(b)
}
