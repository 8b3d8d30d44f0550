package skerryhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/client"
)

// ServeOption configures [Serve].
type ServeOption func(*serveOptions)

type serveOptions struct {
	within   time.Duration
	linger   time.Duration
	register []client.RegisterOption
}

// WithStopWithin sets how long calls that are under way may take when the server
// stops; default 10 s. They are broken off then.
func WithStopWithin(d time.Duration) ServeOption { return func(o *serveOptions) { o.within = d } }

// WithRegistration sets how the instance is registered.
func WithRegistration(opts ...client.RegisterOption) ServeOption {
	return func(o *serveOptions) { o.register = append(o.register, opts...) }
}

// Serve serves on a listener and keeps the instance registered, until ctx ends or the
// program is told to stop by SIGTERM or an interrupt. Then it stops so that no call
// fails: it withdraws the instance and goes on serving until callers know, lets
// connections that are kept alive end with their next answer, for a second, and waits
// for the calls under way. A second signal ends the program as usual.
//
// An empty Instance.Address becomes the listener's, which must be one that callers
// can reach then. A registry that is down is no error while serving; one that is
// down at the end is told of, when everything else is done.
func Serve(ctx context.Context, s *http.Server, l net.Listener, c *client.Client, i client.Instance, opts ...ServeOption) error {
	o := serveOptions{within: 10 * time.Second, linger: time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if i.Address == "" {
		if a, ok := l.Addr().(*net.TCPAddr); !ok || a.IP.IsUnspecified() {
			return errors.Join(fmt.Errorf("skerryhttp: Instance.Address is empty, and callers cannot reach %v, where the server listens: set it to host:port", l.Addr()), l.Close())
		}
		i.Address = l.Addr().String()
	}
	r, err := c.Register(i, o.register...)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served: // it was stopped, or cannot go on
		return errors.Join(ended(err), r.Close())
	case <-ctx.Done():
	}
	stop()
	drained := r.Close()
	if drained != nil {
		drained = fmt.Errorf("skerryhttp: withdraw the instance: %w", drained)
	}
	s.SetKeepAlivesEnabled(false)
	time.Sleep(o.linger)
	within, cancel := context.WithTimeout(context.Background(), o.within)
	defer cancel()
	if err := s.Shutdown(within); err != nil {
		s.Close()
	}
	return errors.Join(ended(<-served), drained)
}

// ended leaves out that the server was told to stop.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
