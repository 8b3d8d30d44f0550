package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// Serve leads a server's life: it registers the instance and calls serve, until ctx ends
// or the program gets SIGTERM or an interrupt. Then it withdraws the instance, goes on
// serving until callers know, and calls stop, which must let serve return. A second
// signal ends the program as usual. The transports have a Serve of their own that calls
// this one.
//
// An empty Instance.Address becomes the listener's, which must be one that callers can
// reach then. A registry that is down is no error while serving; one that is down at the
// end is an error, returned when everything else is done.
func (c *Client) Serve(ctx context.Context, l net.Listener, i Instance, serve func() error, stop func(), opts ...RegisterOption) error {
	ctx, quiet := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer quiet()
	if i.Address == "" {
		if a, ok := l.Addr().(*net.TCPAddr); !ok || a.IP.IsUnspecified() {
			return errors.Join(fmt.Errorf("client: Instance.Address is empty, and callers cannot reach %v, where the server listens: set it to host:port", l.Addr()), l.Close())
		}
		i.Address = l.Addr().String()
	}
	r, err := c.Register(i, opts...)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- serve() }()
	select {
	case err := <-served: // it was stopped, or cannot go on
		return errors.Join(err, r.Close())
	case <-ctx.Done():
	}
	quiet()
	drained := r.Close()
	if drained != nil {
		drained = fmt.Errorf("client: withdraw the instance: %w", drained)
	}
	stop()
	return errors.Join(<-served, drained)
}
