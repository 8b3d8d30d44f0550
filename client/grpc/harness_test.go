package skerrygrpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
)

// What the tests have started must be gone when they have ended.
func TestMain(m *testing.M) {
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := leaked()
		if len(left) == 0 {
			os.Exit(code)
		}
		if time.Now().After(deadline) {
			fmt.Printf("%d goroutines are left, the first:\n%s\n", len(left), left[0])
			os.Exit(1)
		}
	}
}

// leaked returns the stacks of goroutines that gRPC or the client has left.
func leaked() (stacks []string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(stack, "google.golang.org/grpc") || strings.Contains(stack, "skerry/client") && !strings.Contains(stack, "TestMain") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

const (
	service = "orders"
	method  = "/skerry.test.Work/Do"
)

type worker interface {
	do(ctx context.Context) error
}

var workDesc = grpc.ServiceDesc{
	ServiceName: "skerry.test.Work",
	HandlerType: (*worker)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(&emptypb.Empty{}); err != nil {
			return nil, err
		}
		work := func(ctx context.Context, _ any) (any, error) { return &emptypb.Empty{}, srv.(worker).do(ctx) }
		if intercept == nil {
			return work(ctx, nil)
		}
		return intercept(ctx, nil, &grpc.UnaryServerInfo{Server: srv, FullMethod: method}, work)
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Listen", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		if err := s.SendMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		<-s.Context().Done()
		return nil
	}}},
}

// backend is a server of the tests.
type backend struct {
	*grpc.Server
	address string
	health  *health.Server // nil: it does not serve health
	calls   atomic.Int64
	work    atomic.Pointer[func(context.Context) error]
}

func (b *backend) do(ctx context.Context) error {
	b.calls.Add(1)
	if work := b.work.Load(); work != nil {
		return (*work)(ctx)
	}
	return nil
}

func (b *backend) set(work func(context.Context) error) { b.work.Store(&work) }

// takes returns work that takes a while.
func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func fails(err error) func(context.Context) error { return func(context.Context) error { return err } }

// newServer returns a server with the service of the tests.
func newServer(b *backend) *grpc.Server {
	s := grpc.NewServer(ServerOptions()...)
	s.RegisterService(&workDesc, b)
	return s
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveAll starts n servers on loopback; healthy ones serve grpc.health.
func serveAll(t testing.TB, n int, healthy bool) []*backend {
	t.Helper()
	backends := make([]*backend, n)
	for i := range backends {
		b := &backend{}
		b.Server = newServer(b)
		if healthy {
			b.health = health.NewServer()
			healthpb.RegisterHealthServer(b.Server, b.health)
		}
		l := listen(t, "127.0.0.1:0")
		b.address = l.Addr().String()
		var done sync.WaitGroup
		done.Go(func() { _ = b.Serve(l) })
		t.Cleanup(func() { b.Stop(); done.Wait() })
		backends[i] = b
	}
	return backends
}

func addresses(backends []*backend) (all []string) {
	for _, b := range backends {
		all = append(all, b.address)
	}
	return all
}

// newClient returns a client of a registry that the test decides.
func newClient(t testing.TB, opts ...client.Option) (*client.Client, *clienttest.Manual) {
	m := &clienttest.Manual{}
	c := client.New(m, append([]client.Option{client.WithCacheDir("")}, opts...)...)
	t.Cleanup(func() { c.Close() })
	return c, m
}

func dial(t testing.TB, c *client.Client, opts ...Option) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(Scheme+":///"+service, append(DialOptions(c, opts...), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// invoke makes a call with a deadline.
func invoke(conn *grpc.ClientConn, within time.Duration, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}, opts...)
}

// warm makes calls until each server has had one.
func warm(t testing.TB, conn *grpc.ClientConn, backends []*backend) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if err := invoke(conn, 2*time.Second); err != nil {
			t.Fatal(err)
		}
		missing := 0
		for _, b := range backends {
			if b.calls.Load() == 0 {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d servers have not been called", missing, len(backends))
		}
	}
	for _, b := range backends {
		b.calls.Store(0)
	}
}

// result is a call of a load.
type result struct {
	began time.Time
	ended time.Time
	to    string // the address of the last attempt, "" if there was none
	err   error
}

// load makes calls at a steady rate, whatever becomes of them, until stop is closed.
func load(conn *grpc.ClientConn, rate int, within time.Duration, stop <-chan struct{}) []result {
	var (
		mu      sync.Mutex
		results []result
		calls   sync.WaitGroup
	)
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			calls.Wait()
			return results
		case <-ticker.C:
		}
		calls.Go(func() {
			r := result{began: time.Now()}
			var to peer.Peer
			if r.err = invoke(conn, within, grpc.Peer(&to)); to.Addr != nil {
				r.to = to.Addr.String()
			}
			r.ended = time.Now()
			mu.Lock()
			defer mu.Unlock()
			results = append(results, r)
		})
	}
}

// after returns a channel that is closed after d.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

// failed returns the calls that failed.
func failed(results []result) (bad []result) {
	for _, r := range results {
		if r.err != nil {
			bad = append(bad, r)
		}
	}
	return bad
}

// eventually waits for something to become true.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// gate is a way to a server that can be closed: what is sent then gets no answer, and
// no connection ends, as when a machine has stopped.
type gate struct {
	address string
	mu      sync.RWMutex // held by writing while the gate is closed
	conns   []net.Conn
}

func newGate(t testing.TB, to string) *gate {
	l := listen(t, "127.0.0.1:0")
	g := &gate{address: l.Addr().String()}
	var done sync.WaitGroup
	var keep sync.Mutex
	pass := func(from, to net.Conn) {
		defer to.Close()
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			g.mu.RLock()
			if err == nil {
				_, err = to.Write(buffer[:n])
			}
			g.mu.RUnlock()
			if err != nil && err != io.EOF || n == 0 {
				return
			}
		}
	}
	done.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			keep.Lock()
			g.conns = append(g.conns, in, out)
			keep.Unlock()
			done.Go(func() { pass(in, out) })
			done.Go(func() { pass(out, in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		keep.Lock()
		for _, c := range g.conns {
			c.Close()
		}
		keep.Unlock()
		done.Wait()
	})
	return g
}

func (g *gate) shut() { g.mu.Lock() }
func (g *gate) open() { g.mu.Unlock() }
