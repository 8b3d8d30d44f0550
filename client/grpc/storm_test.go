package skerrygrpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"google.golang.org/grpc"

	"github.com/skerryhq/skerry/client"
)

// Three servers are restarted one after another, twice, under load: no call fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t)
	b := &backend{}
	b.set(takes(5 * time.Millisecond))
	run := func(address string) (now string, stop func()) {
		l := listen(t, address)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		s := newServer(b)
		go func() { ended <- Serve(ctx, s, l, c, client.Instance{Service: service}) }()
		return l.Addr().String(), func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	}
	var at [3]string
	var stop [3]func()
	for i := range stop {
		at[i], stop[i] = run("127.0.0.1:0")
	}
	conn := dial(t, c)
	all := make(chan struct{})
	var results []result
	var loading sync.WaitGroup
	loading.Go(func() { results = load(conn, 300, 2*time.Second, all) })
	for range 2 {
		for i := range stop {
			time.Sleep(300 * time.Millisecond)
			stop[i]()
			_, stop[i] = run(at[i])
		}
	}
	time.Sleep(300 * time.Millisecond)
	close(all)
	loading.Wait()
	if bad := failed(results); len(bad) > 0 {
		t.Errorf("%d of %d calls failed, the first: %v", len(bad), len(results), bad[0].err)
	}
	t.Logf("%d calls", len(results))
	for i := range stop {
		stop[i]()
	}
}

// share puts ten servers under load, of which one is what bad makes of it, and returns the share
// that it takes, its address, and the calls.
func share(t *testing.T, good time.Duration, bad func(context.Context) error) (share float64, at string, results []result) {
	t.Helper()
	c, m := newClient(t)
	servers := serveAll(t, 10, true)
	for _, b := range servers {
		b.set(takes(good))
	}
	m.Set(service, addresses(servers)...)
	conn := dial(t, c)
	warm(t, conn, servers)
	load(conn, 300, 2*time.Second, after(time.Second))
	servers[0].set(bad)
	for _, b := range servers {
		b.calls.Store(0)
	}
	results = load(conn, 300, 2*time.Second, after(6*time.Second))
	return float64(servers[0].calls.Load()) / float64(len(results)), servers[0].address, results
}

// slower returns how many times longer calls to one server took than those to the others.
func slower(results []result, at string) float64 {
	var took [2]time.Duration
	var calls [2]int
	for _, r := range results {
		which := 0
		if r.to == at {
			which = 1
		}
		took[which] += r.ended.Sub(r.began)
		calls[which]++
	}
	if calls[0] == 0 || calls[1] == 0 {
		return 0
	}
	return (took[1].Seconds() / float64(calls[1])) / (took[0].Seconds() / float64(calls[0]))
}

func TestASlowServer(t *testing.T) {
	t.Parallel()
	got, at, results := share(t, 10*time.Millisecond, takes(100*time.Millisecond))
	// A busy machine makes the others slow too, and then it may take more.
	times, most := slower(results, at), .02
	if times > 0 {
		most *= max(1, 10/times)
	}
	t.Logf("%.1f times slower, it takes %.2f %% of %d calls", times, 100*got, len(results))
	if bad := failed(results); got > most || len(bad) > 0 {
		t.Errorf("%.1f times slower than nine others, it takes %.1f %% of the calls, more than %.1f %%; %d of %d failed", times, 100*got, 100*most, len(bad), len(results))
	}
}

func TestAServerThatFailsFast(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	got, _, results := share(t, 10*time.Millisecond, func(ctx context.Context) error {
		if n.Add(1)%2 == 0 {
			return status.Error(codes.Internal, "broken")
		}
		return takes(10 * time.Millisecond)(ctx)
	})
	t.Logf("it takes %.2f %% of %d calls, %d failed", 100*got, len(results), len(failed(results)))
	if got > .03 {
		t.Errorf("failing half of its calls at once, it takes %.1f %% of the calls", 100*got)
	}
}

// A server that is killed fails the calls that it has, and no other.
func TestKilled(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 3, true)
	for _, b := range servers {
		b.set(takes(20 * time.Millisecond))
	}
	m.Set(service, addresses(servers)...)
	conn := dial(t, c)
	warm(t, conn, servers)
	var results []result
	var loading sync.WaitGroup
	stop := make(chan struct{})
	loading.Go(func() { results = load(conn, 400, 2*time.Second, stop) })
	time.Sleep(time.Second)
	killed := time.Now()
	servers[0].Stop()
	gone := time.Now()
	time.Sleep(time.Second)
	close(stop)
	loading.Wait()
	bad := failed(results)
	t.Logf("%d of %d calls failed", len(bad), len(results))
	for _, r := range bad {
		// A call takes until it is told that the server is gone.
		if r.to != servers[0].address || r.ended.Before(killed) || r.began.After(gone.Add(100*time.Millisecond)) {
			t.Errorf("a call to %s from %v until %v after the kill failed: %v", r.to, r.began.Sub(killed), r.ended.Sub(killed), r.err)
		}
	}
}

// A server that takes connections and never answers costs calls at first, and none
// after three seconds: it is probed by no user's call.
func TestHung(t *testing.T) {
	t.Parallel()
	for _, healthy := range []bool{true, false} {
		t.Run(map[bool]string{true: "health", false: "no health"}[healthy], func(t *testing.T) {
			t.Parallel()
			c, m := newClient(t)
			servers := serveAll(t, 4, healthy)
			g := newGate(t, servers[0].address)
			m.Set(service, append(addresses(servers[1:]), g.address)...)
			// What latency tells is soon forgotten, so that only being out keeps calls away.
			opts := []Option{Retry("skerry.test.Work"), WithConfig(Config{Decay: 200 * time.Millisecond})}
			if !healthy {
				opts = append(opts, WithForeignServers())
			}
			conn := dial(t, c, opts...)
			warm(t, conn, servers)
			g.shut()
			hung := time.Now()
			results := load(conn, 200, 500*time.Millisecond, after(5*time.Second))
			g.open()
			// A busy machine may fail others, and when more than half are out, all are used.
			all := failed(results)
			bad := slices.DeleteFunc(slices.Clone(all), func(r result) bool { return r.to != g.address })
			t.Logf("%d of %d calls failed there, %d elsewhere", len(bad), len(results), len(all)-len(bad))
			if len(bad) == 0 || len(bad) > 20 {
				t.Errorf("%d of %d calls failed there", len(bad), len(results))
			}
			for _, r := range bad {
				if late := r.began.Sub(hung); late > 3*time.Second && len(all) == len(bad) {
					t.Errorf("a call that began %v later went there and failed: %v", late, r.err)
				}
			}
		})
	}
}

// When all servers stand still for a while, as on a machine that has too much to do,
// nobody is to blame: all go on as before when it is over.
func TestAllStall(t *testing.T) {
	t.Parallel()
	c, m := newClient(t)
	servers := serveAll(t, 6, true)
	var gates []*gate
	var list []string
	for _, s := range servers {
		g := newGate(t, s.address)
		gates, list = append(gates, g), append(list, g.address)
	}
	m.Set(service, list...)
	var conns []*grpc.ClientConn
	for range 5 {
		conn := dial(t, c)
		warm(t, conn, servers)
		conns = append(conns, conn)
	}
	stop := make(chan struct{})
	results := make([][]result, len(conns))
	var loading sync.WaitGroup
	for i, conn := range conns {
		loading.Go(func() { results[i] = load(conn, 40, 500*time.Millisecond, stop) })
	}
	time.Sleep(time.Second)
	for _, g := range gates {
		g.shut()
	}
	time.Sleep(2 * time.Second)
	for _, g := range gates {
		g.open()
	}
	over := time.Now()
	time.Sleep(3 * time.Second)
	close(stop)
	loading.Wait()
	during, after := 0, 0
	for _, r := range failed(slices.Concat(results...)) {
		if r.began.After(over.Add(250 * time.Millisecond)) {
			after++
		} else {
			during++
		}
	}
	ejected := uint64(0)
	for _, b := range c.Explain().Services[0].Balancers {
		for _, i := range b.Instances {
			if ejected += i.Ejected; i.Ejected > 0 {
				t.Logf("%s was taken out %d times: %s", i.Key, i.Ejected, i.Reason)
			}
		}
	}
	t.Logf("%d calls failed during the stall, %d after it; %d ejections", during, after, ejected)
	if during == 0 || after > 0 || ejected > uint64(2*len(conns)) {
		t.Errorf("want none to fail after it, and next to nobody taken out")
	}
}

var errDown = errors.New("connection refused")

// Calls go on while the registry is dead, also those of a program that starts then.
func TestTheRegistryIsDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, m := newClient(t, client.WithCacheDir(dir))
	servers := serveAll(t, 3, true)
	m.Set(service, addresses(servers)...)
	conn := dial(t, c)
	warm(t, conn, servers)
	m.Fail(service, errDown)
	eventually(t, 5*time.Second, "the list is frozen", func() bool {
		s, _ := c.Snapshot(service)
		return s.Freshness == client.Frozen
	})
	if bad := failed(load(conn, 200, time.Second, after(500*time.Millisecond))); len(bad) > 0 {
		t.Errorf("while the registry is dead %d calls failed, the first: %v", len(bad), bad[0].err)
	}
	warm(t, conn, servers)
	c.Close() // writes the list

	c, m = newClient(t, client.WithCacheDir(dir))
	m.Fail(service, errDown)
	conn = dial(t, c)
	began := time.Now()
	if err := invoke(conn, 5*time.Second); err != nil {
		t.Fatalf("started from disk: %v", err)
	}
	t.Logf("from disk to the first answer: %v", time.Since(began))
	warm(t, conn, servers)
	if s, _ := c.Snapshot(service); s.Freshness != client.Cold {
		t.Errorf("the list is %v", s.Freshness)
	}
}
