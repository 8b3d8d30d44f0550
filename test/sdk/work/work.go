// Package work is the service that the programs of the measurement offer and call, with
// the faults that they can be given, and how callers report the outcome of calls.
package work

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The one method.
const (
	Service = "skerry.bench.Work"
	Method  = "/" + Service + "/Do"
)

// Fault is a fault of a server.
type Fault struct {
	Slower float64 // factor of the service time; 0 is 1
	Errors float64 // share of calls that fail as UNAVAILABLE
	Fast   bool    // and do so at once, without work
}

// Faults are those that a server can be told to have.
var Faults = map[string]Fault{
	"none":    {},
	"slow":    {Slower: 10},
	"half":    {Errors: .5},
	"fast":    {Errors: .5, Fast: true},
	"allfast": {Errors: 1, Fast: true},
}

// Server works with so many workers; each call takes an exponential time.
type Server struct {
	mean    time.Duration
	workers chan struct{}
	fault   atomic.Pointer[Fault]
	mu      sync.Mutex
	random  *rand.Rand
}

// NewServer returns a healthy server. A mean of 0 is no work at all.
func NewServer(workers int, mean time.Duration, seed uint64) *Server {
	s := &Server{mean: mean, workers: make(chan struct{}, workers), random: rand.New(rand.NewPCG(seed, 1))}
	s.fault.Store(&Fault{})
	return s
}

// Obey obeys a line of the standard input: the name of a fault.
func (s *Server) Obey(line string) error {
	f, ok := Faults[strings.TrimSpace(line)]
	if !ok {
		return fmt.Errorf("unknown fault %q", line)
	}
	s.fault.Store(&f)
	return nil
}

func (s *Server) draw() (share, times float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64(), s.random.ExpFloat64()
}

var errIll = status.Error(codes.Unavailable, "this server is ill")

// Do is a call's way through the server: in its queue, which it leaves when its
// caller has given up, and at a worker, which finishes what it has begun.
func (s *Server) Do(ctx context.Context) error {
	f := s.fault.Load()
	share, times := s.draw()
	failed := share < f.Errors
	switch {
	case failed && f.Fast:
		return errIll
	case s.mean > 0:
		select {
		case s.workers <- struct{}{}:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
		time.Sleep(time.Duration(times * max(f.Slower, 1) * float64(s.mean)))
		<-s.workers
	}
	if failed {
		return errIll
	}
	return nil
}

type doer interface{ Do(context.Context) error }

// Desc registers a Server with gRPC.
var Desc = grpc.ServiceDesc{
	ServiceName: Service,
	HandlerType: (*doer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Do", Handler: func(srv any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
		in := &emptypb.Empty{}
		if err := decode(in); err != nil {
			return nil, err
		}
		do := func(ctx context.Context, _ any) (any, error) { return &emptypb.Empty{}, srv.(doer).Do(ctx) }
		if around == nil {
			return do(ctx, in)
		}
		return around(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: Method}, do)
	}}},
}
