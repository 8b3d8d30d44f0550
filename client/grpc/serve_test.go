package skerrygrpc

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/client"
)

// registered waits until so many instances are in the list.
func registered(t *testing.T, c *client.Client, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for s := range c.Watch(ctx, service) {
		if len(s.Instances) == n {
			return
		}
	}
	t.Fatalf("there are not %d instances", n)
}

// SIGTERM ends Serve: the instance is withdrawn first, and the call under way ends well.
func TestServeEndsBySIGTERM(t *testing.T) {
	c, _ := newClient(t)
	b := &backend{}
	b.set(takes(300 * time.Millisecond))
	s, l := newServer(b), listen(t, "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), s, l, c, client.Instance{Service: service}) }()
	registered(t, c, 1)
	conn := dial(t, c)
	called := make(chan error, 1)
	go func() { called <- invoke(conn, 5*time.Second) }()
	eventually(t, 5*time.Second, "the call arrives", func() bool { return b.calls.Load() > 0 })
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	registered(t, c, 0)
	if err := <-called; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// While callers are being told, calls are served and health is as it was; then health
// is NOT_SERVING, and a call that does not end is broken off.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	b := &backend{}
	b.set(takes(time.Minute))
	s, l := newServer(b), listen(t, "127.0.0.1:0")
	h := health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	serving := func() bool {
		r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err == nil && r.GetStatus() == healthpb.HealthCheckResponse_SERVING
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, s, l, c, client.Instance{Service: service}, WithHealth(h), WithStopWithin(200*time.Millisecond),
			WithRegistration(client.WithPropagation(500*time.Millisecond)))
	}()
	registered(t, c, 1)
	conn := dial(t, c)
	called := make(chan error, 1)
	go func() { called <- invoke(conn, 30*time.Second) }()
	eventually(t, 5*time.Second, "the call arrives", func() bool { return b.calls.Load() > 0 })
	m.FailAnnouncements(errDown) // the withdrawal fails, and is not acknowledged
	cancel()
	began := time.Now()
	eventually(t, 5*time.Second, "health says that it stops", func() bool { return !serving() })
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("it stopped being healthy %v after the end was wished for, before callers knew", took)
	}
	if err := <-called; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that does not end: %v", err)
	}
	if err := <-ended; !errors.Is(err, errDown) || !strings.Contains(err.Error(), "withdraw") {
		t.Errorf("Serve: %v, want that the registry is down", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

func TestServeWhatCannotBe(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t)
	if err := Serve(t.Context(), newServer(&backend{}), listen(t, ":0"), c, client.Instance{Service: service}); err == nil || !strings.Contains(err.Error(), "set it to host:port") {
		t.Errorf("listening everywhere, without an address: %v", err)
	}
	if err := Serve(t.Context(), newServer(&backend{}), listen(t, "127.0.0.1:0"), c, client.Instance{}); err == nil || !strings.Contains(err.Error(), "Service is empty") {
		t.Errorf("without a service: %v", err)
	}
	l := listen(t, "127.0.0.1:0")
	address := l.Addr().String()
	l.Close()
	if err := Serve(t.Context(), newServer(&backend{}), l, c, client.Instance{Service: service, Address: address}); err == nil {
		t.Error("on a listener that is closed: no error")
	}
}
