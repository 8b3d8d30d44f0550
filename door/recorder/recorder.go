// Package recorder remembers the answer to a request, for the audit log.
package recorder

import (
	"bufio"
	"net"
	"net/http"
)

// Recorder is a writer that remembers the answer's status.
type Recorder struct {
	http.ResponseWriter
	// Explains reports whether the body of an answer with a status is kept as its reason;
	// nil: never.
	Explains func(status int) bool

	Status int // 0: no answer
	Reason string
	Taken  bool // the connection was taken over
}

// WriteHeader implements [http.ResponseWriter].
func (r *Recorder) WriteHeader(status int) {
	if r.Status == 0 {
		r.Status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *Recorder) Write(b []byte) (int, error) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	if r.Reason == "" && r.Explains != nil && r.Explains(r.Status) {
		r.Reason = string(b)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *Recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush implements [http.Flusher].
func (r *Recorder) Flush() { http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack implements [http.Hijacker].
func (r *Recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	r.Taken = err == nil
	return conn, rw, err
}
