package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The defaults of WithDrain and WithPropagation.
const (
	drainWithin = 30 * time.Second
	propagation = 2 * time.Second
)

// RegisterOption configures a registration.
type RegisterOption func(*registerOptions)

type registerOptions struct {
	ttl         time.Duration
	drain       time.Duration
	propagation time.Duration
	ready       func(context.Context) error
}

// WithTTL sets how long the instance is found after its program has died without a
// word; default 10 s.
func WithTTL(d time.Duration) RegisterOption { return func(o *registerOptions) { o.ttl = d } }

// WithDrain sets for how long Drain lets the instance drain at most, where the registry knows
// its readers: new calls go elsewhere, and the registry answers when all readers have the list
// without the instance, mostly within a second. Default 30 s; 0 withdraws it at once.
func WithDrain(d time.Duration) RegisterOption { return func(o *registerOptions) { o.drain = d } }

// WithPropagation sets how long Drain waits for callers to hear of the withdrawal,
// where the registry cannot say when they have; default 2 s.
func WithPropagation(d time.Duration) RegisterOption {
	return func(o *registerOptions) { o.propagation = d }
}

// WithReady sets a check that must succeed before the instance is registered; default: a
// TCP connection to its address. It is repeated until it does.
func WithReady(ready func(context.Context) error) RegisterOption {
	return func(o *registerOptions) { o.ready = ready }
}

// Registration is an instance that is kept registered.
type Registration struct {
	c        *Client
	instance Instance
	o        registerOptions

	cancel     context.CancelFunc
	registered chan struct{} // closed at the first success
	ended      chan struct{} // closed when it is withdrawn

	mu           sync.Mutex
	announcement Announcement // nil before the instance is ready
	draining     bool
	drained      error

	statusMu sync.Mutex // held for a moment only: sources report at any time
	err      error
}

// Register keeps an instance registered until Drain or Close: from when its address
// takes connections, and again after any loss. It does not wait for any of that. An
// empty ID becomes "<service>-<address>".
func (c *Client) Register(i Instance, opts ...RegisterOption) (*Registration, error) {
	registry, ok := c.source.(Registry)
	if !ok {
		return nil, ErrReadOnly
	}
	if i.Service == "" {
		return nil, errors.New("client: Instance.Service is empty: name the service")
	}
	if host, _, err := net.SplitHostPort(i.Address); err != nil || host == "" {
		return nil, fmt.Errorf("client: Instance.Address is %q: want host:port, as callers reach it", i.Address)
	}
	i.ID = cmp.Or(i.ID, i.Service+"-"+i.Address)
	if i.Started.IsZero() {
		i.Started = time.Now()
	}
	r := &Registration{c: c, instance: i, err: errNotYet, registered: make(chan struct{}), ended: make(chan struct{})}
	r.o = registerOptions{ttl: 10 * time.Second, drain: drainWithin, propagation: propagation, ready: dialable(i.Address)}
	for _, opt := range opts {
		opt(&r.o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	c.mu.Lock()
	c.registrations[r] = struct{}{}
	c.mu.Unlock()
	go r.announce(ctx, registry)
	return r, nil
}

var errNotYet = errors.New("client: not registered yet")

func dialable(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

const readyEvery = 100 * time.Millisecond

// announce registers the instance when it is ready.
func (r *Registration) announce(ctx context.Context, registry Registry) {
	for {
		err := r.o.ready(ctx)
		if err == nil {
			break
		}
		r.report(fmt.Errorf("client: not ready: %w", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(readyEvery):
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.draining {
		r.announcement = registry.Announce(r.instance, r.o.ttl, r.report)
	}
}

// report notes how the last attempt to register or renew went.
func (r *Registration) report(err error) {
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	if (r.err == nil) != (err == nil) {
		r.c.o.log.Info("registration", "service", r.instance.Service, "instance", r.instance.ID, "registered", err == nil, "error", err)
	}
	if r.err = err; err != nil {
		return
	}
	select {
	case <-r.registered:
	default:
		close(r.registered)
	}
}

// Registered is closed when the instance has been registered for the first time.
func (r *Registration) Registered() <-chan struct{} { return r.registered }

// Err returns why the instance is not registered now; nil when it is.
func (r *Registration) Err() error {
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	return r.err
}

// Done is closed when the instance has been withdrawn.
func (r *Registration) Done() <-chan struct{} { return r.ended }

// Drain withdraws the instance, and returns when no new calls come because of it: when the
// registry says that all callers know, or that it has waited for them as long as [WithDrain]
// allows, or else after the propagation time.
// The program must go on serving until then. A registry that does not answer is no
// reason not to stop: the error says so, and the lease ends by itself.
func (r *Registration) Drain(ctx context.Context) error {
	r.mu.Lock()
	if r.draining {
		r.mu.Unlock()
		select {
		case <-r.ended:
			return r.drained
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.draining = true
	a := r.announcement
	r.mu.Unlock()
	r.cancel()
	defer r.end()
	if a == nil {
		return nil // it was never registered
	}
	began := time.Now()
	w, err := a.Withdraw(ctx, r.o.drain)
	if r.drained = err; w.Counted {
		r.count(&w, time.Since(began))
	}
	if w.Safe || w.Counted {
		return err
	}
	select {
	case <-time.After(r.o.propagation):
	case <-ctx.Done():
		r.drained = errors.Join(err, ctx.Err())
	}
	return r.drained
}

// count logs how many callers know of the withdrawal.
func (r *Registration) count(w *Withdrawal, took time.Duration) {
	level, text := slog.LevelInfo, "the instance has drained: all readers of its service have the list without it"
	if !w.Safe {
		level, text = slog.LevelWarn, "the instance has drained for as long as it may: some readers of its service may call it still"
	}
	r.c.o.log.Log(context.Background(), level, text, "service", r.instance.Service, "instance", r.instance.ID,
		"took", took.Round(time.Millisecond), "acked", w.Acked, "pending", w.Pending, "gone", w.Gone, "waiting", w.Waiting)
}

// end marks the registration as ended.
func (r *Registration) end() {
	r.c.mu.Lock()
	delete(r.c.registrations, r)
	r.c.mu.Unlock()
	close(r.ended)
}

// state returns how the registration stands.
func (r *Registration) state() RegistrationState {
	r.mu.Lock()
	draining := r.draining
	r.mu.Unlock()
	s := RegistrationState{Instance: r.instance, Registered: true, Draining: draining}
	if err := r.Err(); err != nil {
		s.Registered, s.Error = false, err.Error()
	}
	return s
}

// closeWithin bounds Close, besides the drain.
const closeWithin = 10 * time.Second

// Close is Drain with a bound: 10 s more than [WithDrain] says, so 40 s by default. It may be called again.
func (r *Registration) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.o.drain+closeWithin)
	defer cancel()
	return r.Drain(ctx)
}
