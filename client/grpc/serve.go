package skerrygrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/skerryhq/skerry/client"
)

// ServerOptions returns what a server needs for callers that use [DialOptions]: it
// bears their pings.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveEvery / 2, PermitWithoutStream: true}),
	}
}

// ServeOption configures [Serve].
type ServeOption func(*serveOptions)

type serveOptions struct {
	health   *health.Server
	within   time.Duration
	register []client.RegisterOption
}

// WithHealth names the program's own health service, which it has registered with the
// server; without it, Serve registers one if there is none.
func WithHealth(h *health.Server) ServeOption { return func(o *serveOptions) { o.health = h } }

// WithStopWithin sets how long calls that are under way may take when the server
// stops; default 10 s. They are broken off then.
func WithStopWithin(d time.Duration) ServeOption { return func(o *serveOptions) { o.within = d } }

// WithRegistration sets how the instance is registered.
func WithRegistration(opts ...client.RegisterOption) ServeOption {
	return func(o *serveOptions) { o.register = append(o.register, opts...) }
}

// Serve serves on a listener and keeps the instance registered, until ctx ends or the
// program is told to stop by SIGTERM or an interrupt. Then it stops so that no call
// fails: it withdraws the instance and goes on serving until callers know, reports
// NOT_SERVING by grpc.health, and waits for the calls under way. A second signal ends
// the program as usual.
//
// An empty Instance.Address becomes the listener's, which must be one that callers
// can reach then. A registry that is down is no error while serving; one that is
// down at the end is told of, when everything else is done.
func Serve(ctx context.Context, s *grpc.Server, l net.Listener, c *client.Client, i client.Instance, opts ...ServeOption) error {
	o := serveOptions{within: 10 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if _, has := s.GetServiceInfo()[healthpb.Health_ServiceDesc.ServiceName]; !has && o.health == nil {
		o.health = health.NewServer()
		healthpb.RegisterHealthServer(s, o.health)
	}
	r, err := register(c, i, l.Addr(), o.register)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served: // it was stopped, or cannot go on
		return errors.Join(err, r.Close())
	case <-ctx.Done():
	}
	stop()
	drained := r.Close()
	if drained != nil {
		drained = fmt.Errorf("skerrygrpc: withdraw the instance: %w", drained)
	}
	if o.health != nil {
		o.health.Shutdown()
	}
	end(s, o.within)
	return errors.Join(<-served, drained)
}

func register(c *client.Client, i client.Instance, listens net.Addr, opts []client.RegisterOption) (*client.Registration, error) {
	if i.Address == "" {
		if a, ok := listens.(*net.TCPAddr); !ok || a.IP.IsUnspecified() {
			return nil, fmt.Errorf("skerrygrpc: Instance.Address is empty, and callers cannot reach %v, where the server listens: set it to host:port", listens)
		}
		i.Address = listens.String()
	}
	return c.Register(i, opts...)
}

// end stops the server when its calls have ended, or after a while.
func end(s *grpc.Server, within time.Duration) {
	timer := time.AfterFunc(within, s.Stop)
	defer timer.Stop()
	s.GracefulStop()
}
