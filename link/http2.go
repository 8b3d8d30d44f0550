package link

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Servers and agents of earlier releases have streams over HTTP/2 alone. A rolling upgrade needs both sides of it.

// http2 carries a stream in the bodies of a request and its answer.
type http2 struct {
	out    io.Writer
	flush  func() error
	expire func(time.Duration) (stop func() bool)
	shut   func()
}

func (h *http2) send(b []byte) error {
	defer h.expire(sendWithin)()
	if _, err := h.out.Write(b); err != nil {
		return err
	}
	return h.flush()
}

func (h *http2) close() { h.shut() }

// dialHTTP2 opens a stream over a connection of its own.
func (d *Dialer) dialHTTP2(ctx context.Context, address string, kind Kind) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(d.within, cancel)
	own := d.transport(signEvery)
	body, out := io.Pipe()
	context.AfterFunc(ctx, func() { // net/http waits for the body
		out.CloseWithError(context.Cause(ctx))
		own.CloseIdleConnections()
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.scheme()+address+kind.path(), body)
	if err != nil {
		cancel()
		return nil, err
	}
	d.sign(req)
	resp, err := own.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refusal(address, resp)
	}
	if !late.Stop() {
		err = errors.Join(context.DeadlineExceeded, err)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, func() { resp.Body.Close() }) // it frees a body that waits for the other side too
	return &Stream{Node: resp.Header.Get(nodeHeader), in: bufio.NewReader(resp.Body), carrier: &http2{
		out: out, flush: func() error { return nil },
		expire: func(d time.Duration) func() bool { return time.AfterFunc(d, cancel).Stop },
		shut: func() {
			cancel()
			out.Close()
			resp.Body.Close()
		},
	}}, nil
}

// acceptHTTP2 serves a stream until serve returns.
func acceptHTTP2(w http.ResponseWriter, r *http.Request, serve func(context.Context, *Stream)) {
	control := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil {
		return
	}
	// A deadline for each frame would cost two messages to the goroutine of the connection. It is set when it has passed.
	passed := make(chan struct{}, 1)
	timer := time.AfterFunc(time.Hour, func() {
		control.SetWriteDeadline(time.Now())
		passed <- struct{}{}
	})
	timer.Stop()
	serve(r.Context(), &Stream{in: bufio.NewReader(r.Body), carrier: &http2{
		out: w, flush: control.Flush, shut: func() {},
		expire: func(d time.Duration) func() bool {
			timer.Reset(d)
			return func() bool {
				if timer.Stop() {
					return true
				}
				<-passed // the writer must not be used after this handler
				return false
			}
		},
	}})
}
