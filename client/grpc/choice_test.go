package skerrygrpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/internal/hedge"
	"github.com/skerryhq/skerry/client/lb"
)

func TestRoundRobin(t *testing.T) {
	backends := serveAll(t, 4, true)
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn := dial(t, c, WithConfig(Config{Policy: lb.RoundRobin}))
	warm(t, conn, backends)
	for range 400 {
		if err := invoke(conn, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range backends {
		if n := b.calls.Load(); n < 98 || n > 102 {
			t.Errorf("%d of 400 calls went to one of four", n)
		}
	}
}

func TestHash(t *testing.T) {
	backends := serveAll(t, 5, true)
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn, other := dial(t, c, WithConfig(Config{Policy: lb.Hash})), dial(t, c, WithConfig(Config{Policy: lb.Hash}))
	warm(t, conn, backends)
	warm(t, other, backends)
	to := func(conn *grpc.ClientConn, customer int) string {
		ctx, cancel := context.WithTimeout(client.WithHashKey(t.Context(), fmt.Sprint("customer-", customer)), 5*time.Second)
		defer cancel()
		var p peer.Peer
		if err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Peer(&p)); err != nil {
			t.Fatal(err)
		}
		return p.Addr.String()
	}
	used := map[string]bool{}
	for customer := range 50 {
		first := to(conn, customer)
		used[first] = true
		for _, conn := range []*grpc.ClientConn{conn, other} {
			if again := to(conn, customer); again != first {
				t.Fatalf("customer %d is served by %s and by %s", customer, first, again)
			}
		}
	}
	if len(used) != len(backends) {
		t.Errorf("%d of %d servers are used", len(used), len(backends))
	}
}

// With prequal, servers are asked for their load, and one that is slow is left alone.
func TestPrequal(t *testing.T) {
	backends := make([]*backend, 5)
	for i := range backends {
		b := &backend{}
		load := &Load{}
		b.Server = grpc.NewServer(append(ServerOptions(), load.ServerOptions()...)...)
		b.RegisterService(&workDesc, b)
		load.Register(b.Server)
		b.set(takes(2 * time.Millisecond))
		l := listen(t, "127.0.0.1:0")
		b.address = l.Addr().String()
		var done sync.WaitGroup
		done.Go(func() { _ = b.Serve(l) })
		t.Cleanup(func() { b.Stop(); done.Wait() })
		backends[i] = b
	}
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn := dial(t, c, WithConfig(Config{Policy: lb.Prequal}))
	warm(t, conn, backends)
	one, alone := newClient(t)
	alone.Set(service, backends[0].address)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if l, err := loadOver(ctx, dial(t, one)); err != nil || l.InFlight != 0 || l.Latency < time.Millisecond {
		t.Errorf("the load is %+v, %v", l, err)
	}
	backends[0].set(takes(200 * time.Millisecond))
	if bad := failed(load(conn, 200, 5*time.Second, after(5*time.Second))); len(bad) > 0 {
		t.Errorf("%d calls failed, the first: %v", len(bad), bad[0].err)
	}
	if n := backends[0].calls.Load(); n > 60 {
		t.Errorf("%d of about 1000 calls went to the slow one", n)
	}
}

// Of two answers the first counts, with its header; the calls that are hedged are few.
func TestHedge(t *testing.T) {
	backends := serveAll(t, 3, true)
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn := dial(t, c, Hedge(50*time.Millisecond, "skerry.test.Work/Do"))
	plain := dial(t, c)
	warm(t, conn, backends)
	warm(t, plain, backends)
	var taking atomic.Bool // one call at a time is slow, so that its hedge is not
	for _, b := range backends {
		b.set(func(ctx context.Context) error {
			if err := grpc.SetHeader(ctx, metadata.Pairs("from", b.address)); err != nil {
				return err
			}
			if b.calls.Load()%40 == 0 && taking.CompareAndSwap(false, true) { // wherever
				defer taking.Store(false)
				return takes(2 * time.Second)(ctx)
			}
			return nil
		})
	}
	slow := func(conn *grpc.ClientConn) (n int) {
		for range 200 {
			var header metadata.MD
			var p peer.Peer
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header), grpc.Peer(&p))
			cancel()
			if err != nil || len(header["from"]) != 1 || header["from"][0] != p.Addr.String() {
				t.Fatalf("%v: header %v from %v", err, header, p.Addr)
			}
			if time.Since(began) > time.Second {
				n++
			}
		}
		return n
	}
	if n := slow(plain); n == 0 {
		t.Error("no call is slow without hedges: the test shows nothing")
	}
	if n := slow(conn); n > 0 {
		t.Errorf("%d calls of 200 were slow with hedges", n)
	}
}

// When all is slow, hedges stop at their budget.
func TestHedgesAreBounded(t *testing.T) {
	backends := serveAll(t, 3, true)
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn := dial(t, c, Hedge(time.Millisecond, "skerry.test.Work"))
	warm(t, conn, backends)
	for _, b := range backends {
		b.set(takes(20 * time.Millisecond))
	}
	const calls = 300
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range calls / 10 {
				if err := invoke(conn, 5*time.Second); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sent := int64(0)
	for _, b := range backends {
		sent += b.calls.Load()
	}
	if most := int64(calls + hedge.Most + calls*hedge.Share + 1); sent > most || sent == calls {
		t.Errorf("%d calls were sent for %d, want more, and at most %d", sent, calls, most)
	}
}

// Callers may use their messages again once a call has returned, while the other half
// of the hedge still runs. The race detector judges.
func TestHedgesLeaveTheMessagesAlone(t *testing.T) {
	backends := serveAll(t, 2, true)
	c, m := newClient(t)
	m.Set(service, addresses(backends)...)
	conn := dial(t, c, Hedge(time.Microsecond, "skerry.test.Work"))
	warm(t, conn, backends)
	req, reply := &emptypb.Empty{}, &emptypb.Empty{}
	for range 300 {
		if err := conn.Invoke(t.Context(), method, req, reply); err != nil {
			t.Fatal(err)
		}
		proto.Reset(req)
		proto.Reset(reply)
	}
}
