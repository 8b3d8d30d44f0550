package skerryhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/client"
)

// ServeOption configures [Serve].
type ServeOption func(*serveOptions)

type serveOptions struct {
	within   time.Duration
	register []client.RegisterOption
}

// WithStopWithin sets how long calls that are under way may take when the server
// stops; default 10 s. They are broken off then.
func WithStopWithin(d time.Duration) ServeOption { return func(o *serveOptions) { o.within = d } }

// WithRegistration sets how the instance is registered.
func WithRegistration(opts ...client.RegisterOption) ServeOption {
	return func(o *serveOptions) { o.register = append(o.register, opts...) }
}

// linger is how long connections that are kept alive may end with their next answer. A call may have chosen the instance just
// before its caller knew, and is sent a moment later: a connection that is closed meanwhile fails it.
const linger = time.Second

// Serve serves on a listener and keeps the instance registered, until ctx ends or the
// program is told to stop by SIGTERM or an interrupt. Then it stops so that no call
// fails: it withdraws the instance and goes on serving until callers know, lets
// connections that are kept alive end with their next answer, for a second, and waits
// for the calls under way. A second signal ends the program as usual. It wraps s.Handler.
//
// An empty Instance.Address becomes the listener's, which must be one that callers can
// reach then. A registry that is down is no error while serving; one that is down at the
// end is an error, returned when everything else is done.
func Serve(ctx context.Context, s *http.Server, l net.Listener, c *client.Client, i client.Instance, opts ...ServeOption) error {
	o := serveOptions{within: 10 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	var last atomic.Bool
	s.Handler = answersLast(s.Handler, &last)
	return c.Serve(ctx, l, i, func() error { return ended(s.Serve(l)) }, func() {
		last.Store(true)
		time.Sleep(linger)
		within, cancel := context.WithTimeout(context.Background(), o.within)
		defer cancel()
		if err := s.Shutdown(within); err != nil {
			s.Close()
		}
	}, o.register...)
}

// answersLast ends a connection with its next answer once last is set. [http.Server.SetKeepAlivesEnabled] would close those at
// once that are idle.
func answersLast(next http.Handler, last *atomic.Bool) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if last.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ended leaves out that the server was told to stop.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
