package skerrygrpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/client"
)

var (
	errAway   = status.Error(codes.Unavailable, "away")
	errBroken = status.Error(codes.Internal, "broken")
)

// A call that is made again goes elsewhere: of three servers two are away, and three
// attempts always find the third. By chance alone a third of the calls would fail.
func TestRetry(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 3, true)
	servers[0].set(fails(errAway))
	servers[1].set(fails(errAway))
	m.Set(service, addresses(servers)...)
	conn := dial(t, c, Retry("skerry.test.Work/Do"), WithConfig(Config{MaxEjected: .01})) // they are not taken out
	for range 20 {
		if err := invoke(conn, 2*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := servers[0].calls.Load() + servers[1].calls.Load(); n == 0 || servers[2].calls.Load() != 20 {
		t.Errorf("%d calls to the servers that are away, %d to the other", n, servers[2].calls.Load())
	}
}

// Retries are bounded: a service that is down is not called three times as often.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 3, true)
	for _, b := range servers {
		b.set(fails(errAway))
	}
	m.Set(service, addresses(servers)...)
	conn := dial(t, c, Retry("skerry.test.Work"))
	const calls = 200
	for range calls {
		if err := invoke(conn, 2*time.Second); status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
	attempts := servers[0].calls.Load() + servers[1].calls.Load() + servers[2].calls.Load()
	if attempts <= calls || attempts > calls+retryTokens/2 {
		t.Errorf("%d calls were %d attempts", calls, attempts)
	}
	if err := invoke(dial(t, c), time.Second); status.Code(err) != codes.Unavailable {
		t.Errorf("where nothing is retried: %v", err)
	}
}

// What is known of an instance outlives lists and reconnects; it comes back by its
// health, without a user's call.
func TestStatisticsLast(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 5, true)
	m.Set(service, addresses(servers[:4])...)
	conn := dial(t, c, WithForeignServers()) // health is not watched, so that the connection stays
	warm(t, conn, servers[:4])
	bad := servers[0]
	bad.set(fails(errBroken))
	bad.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	eventually(t, 10*time.Second, "it fails", func() bool { return invoke(conn, time.Second) != nil && bad.calls.Load() >= 3 })
	quiet := func(after string) {
		t.Helper()
		bad.calls.Store(0)
		for range 200 {
			if err := invoke(conn, time.Second); err != nil {
				t.Fatalf("%s: %v", after, err)
			}
		}
		if n := bad.calls.Load(); n > 0 {
			t.Errorf("%s the failing server has taken %d of 200 calls", after, n)
		}
	}
	quiet("when it was taken out")
	m.Set(service, addresses(servers)...)
	warm(t, conn, servers[4:])
	quiet("after another list")
	servers[1].Stop()
	eventually(t, 5*time.Second, "its connection has ended", func() bool { return invoke(conn, time.Second) == nil })
	quiet("after another's connection has ended")
	bad.set(takes(0))
	quiet("before its health is back")
	bad.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	eventually(t, 15*time.Second, "it takes calls again", func() bool {
		if err := invoke(conn, time.Second); err != nil {
			t.Errorf("while it comes back: %v", err)
		}
		return bad.calls.Load() > 0
	})
}

// Where health is not served, calls that can be made again probe; no user sees it.
func TestLiveProbes(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 4, false)
	m.Set(service, addresses(servers)...)
	conn := dial(t, c, WithForeignServers(), Retry("skerry.test.Work"))
	warm(t, conn, servers)
	bad := servers[0]
	bad.set(fails(errAway))
	stop, ended := make(chan struct{}), make(chan []result)
	go func() { ended <- load(conn, 200, 2*time.Second, stop) }()
	time.Sleep(500 * time.Millisecond)
	ejected := bad.calls.Load()
	// It would be let in without any call after three times offerWithin.
	eventually(t, 2500*time.Millisecond, "it is probed by calls", func() bool { return bad.calls.Load() > ejected })
	bad.set(takes(0))
	eventually(t, 20*time.Second, "it takes calls again", func() bool { return bad.calls.Load() >= ejected+6 })
	close(stop)
	results := <-ended
	if failures := failed(results); len(failures) > 0 {
		t.Errorf("%d of %d calls failed, the first: %v", len(failures), len(results), failures[0].err)
	}
}

// Where no call can be made again either, that the server answers must do.
func TestProbesWithoutHealth(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 3, false)
	m.Set(service, addresses(servers)...)
	conn := dial(t, c, WithForeignServers())
	warm(t, conn, servers)
	bad := servers[0]
	bad.set(fails(errAway))
	eventually(t, 10*time.Second, "it fails", func() bool { invoke(conn, time.Second); return bad.calls.Load() >= 3 })
	bad.set(takes(0))
	bad.calls.Store(0)
	eventually(t, 20*time.Second, "it takes calls again", func() bool { invoke(conn, time.Second); return bad.calls.Load() > 0 })
}

// Instances that are draining take calls only when nobody else is there.
func TestDraining(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 2, true)
	list := func(draining ...bool) {
		u := client.Update{Revision: uint64(time.Now().UnixNano()), Proven: true}
		for i, b := range servers {
			u.Instances = append(u.Instances, client.Instance{ID: b.address, Service: service, Address: b.address, Draining: draining[i]})
		}
		m.Update(service, u)
	}
	list(false, false)
	conn := dial(t, c)
	warm(t, conn, servers)
	servers[1].set(takes(5 * time.Millisecond)) // the one that drains would be the faster
	list(true, false)
	eventually(t, 5*time.Second, "it is left alone", func() bool {
		before := servers[0].calls.Load()
		for range 50 {
			if err := invoke(conn, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		return servers[0].calls.Load() == before
	})
	servers[1].Stop()
	eventually(t, 5*time.Second, "it takes calls again", func() bool { return invoke(conn, time.Second) == nil })
	for range 20 {
		if err := invoke(conn, 2*time.Second); err != nil {
			t.Fatalf("when the other is gone: %v", err)
		}
	}
	list(true, true)
	if err := invoke(conn, 2*time.Second); err != nil {
		t.Fatalf("when all are draining: %v", err)
	}
}

// The policy works with any resolver, and without a config: go-zero names it in the
// field that never had one.
func TestLegacyPolicyName(t *testing.T) {
	t.Parallel()
	servers := serveAll(t, 3, true)
	r := manual.NewBuilderWithScheme("test")
	state := resolver.State{}
	for _, b := range servers {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: b.address})
	}
	r.InitialState(state)
	conn, err := grpc.NewClient("test:///orders", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"skerry_p2c"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	warm(t, conn, servers)
}

// A stream that stays open is load, and does not keep calls away by its age.
func TestStreams(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 2, true)
	m.Set(service, addresses(servers)...)
	conn := dial(t, c)
	warm(t, conn, servers)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/skerry.test.Work/Listen")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	for _, b := range servers {
		b.set(takes(20 * time.Millisecond))
	}
	// It had an answer after a millisecond, and is a second old at the end.
	results := load(conn, 300, 2*time.Second, after(time.Second))
	for i, b := range servers {
		if share := float64(b.calls.Load()) / float64(len(results)); share < .25 {
			t.Errorf("server %d takes %.2f of the calls", i, share)
		}
	}
}

// An empty list that is true is told of as what it is.
func TestNoInstances(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 1, true)
	m.Update(service, client.Update{Revision: 1, Proven: true})
	conn := dial(t, c)
	if err := invoke(conn, 5*time.Second); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `"orders" has no instances (the list is live)`) {
		t.Errorf("without instances: %v", err)
	}
	m.Set(service, addresses(servers)...)
	eventually(t, 5*time.Second, "calls succeed", func() bool { return invoke(conn, time.Second) == nil })
}
