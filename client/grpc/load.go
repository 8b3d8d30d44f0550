package skerrygrpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerryhq/skerry/client/lb"
)

// A server's load is asked for by a call of its own, whose answer has two numbers.
const (
	loadService   = "skerry.client.Load"
	loadMethod    = "Get"
	inFlightField = "in_flight"
	latencyField  = "latency_seconds"
)

// Load measures a server's load, and tells it to callers whose policy is prequal.
//
//	load := &skerrygrpc.Load{}
//	s := grpc.NewServer(append(skerrygrpc.ServerOptions(), load.ServerOptions()...)...)
//	load.Register(s)
//
// The zero value is ready.
type Load struct {
	tracker lb.Tracker
	began   time.Time
}

// ServerOptions returns what measures the unary calls. Streams are not counted: what
// they cost has nothing to do with how long they last.
func (l *Load) ServerOptions() []grpc.ServerOption {
	l.began = time.Now()
	own := "/" + loadService + "/" + loadMethod
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if info.FullMethod == own {
			return handle(ctx, req)
		}
		began, beside := time.Now(), l.tracker.Begin()
		defer func() { l.tracker.End(time.Since(l.began), beside, time.Since(began)) }()
		return handle(ctx, req)
	})}
}

// loadTeller is what gRPC wants a service to be.
type loadTeller interface {
	get() (*structpb.Struct, error)
}

func (l *Load) get() (*structpb.Struct, error) {
	load := l.tracker.Load(time.Since(l.began))
	return structpb.NewStruct(map[string]any{inFlightField: load.InFlight, latencyField: load.Latency.Seconds()})
}

// Register lets the server tell its load.
func (l *Load) Register(s grpc.ServiceRegistrar) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: loadService, HandlerType: (*loadTeller)(nil),
		Methods: []grpc.MethodDesc{{MethodName: loadMethod, Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			req := &emptypb.Empty{}
			if err := decode(req); err != nil {
				return nil, err
			}
			handle := func(context.Context, any) (any, error) { return srv.(loadTeller).get() }
			if intercept == nil {
				return handle(ctx, req)
			}
			return intercept(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + loadService + "/" + loadMethod}, handle)
		}}},
	}, l)
}

const (
	loadWithin  = time.Second
	loadsAtOnce = 16
)

// question is an instance that is to be asked for its load.
type question struct {
	picker *lb.Balancer
	node   lb.Node
}

// wonder has instances asked for their load after a call; with other policies than
// prequal, none.
func (b *p2c) wonder(picker *lb.Balancer) {
	for _, n := range picker.Ask() {
		select {
		case b.questions <- question{picker, n}:
		default: // there are enough
		}
	}
}

// askLoads asks instances for their load, until ctx ends.
func (b *p2c) askLoads(ctx context.Context) {
	for {
		select {
		case q := <-b.questions:
			if load, err := askLoad(ctx, q.node.Value.(balancer.Picker)); err == nil {
				q.picker.Told(b.now(), q.node.Key, load)
			}
		case <-ctx.Done():
			return
		}
	}
}

// askLoad asks the server at the other end of a connection for its load.
func askLoad(ctx context.Context, connection balancer.Picker) (lb.Load, error) {
	ctx, cancel := context.WithTimeout(ctx, loadWithin)
	defer cancel()
	conn, release, err := only(ctx, connection)
	if err != nil {
		return lb.Load{}, err
	}
	defer release()
	return loadOver(ctx, conn)
}

// loadOver asks for the load of the server that a connection leads to.
func loadOver(ctx context.Context, conn grpc.ClientConnInterface) (lb.Load, error) {
	reply := &structpb.Struct{}
	if err := conn.Invoke(ctx, "/"+loadService+"/"+loadMethod, &emptypb.Empty{}, reply); err != nil {
		return lb.Load{}, err
	}
	flying, latency := reply.Fields[inFlightField].GetNumberValue(), reply.Fields[latencyField].GetNumberValue()
	if !(flying >= 0 && flying < 1e9 && latency >= 0 && latency < 1e6) {
		return lb.Load{}, fmt.Errorf("skerrygrpc: a load of %v calls and %v s makes no sense", flying, latency)
	}
	return lb.Load{InFlight: int(flying), Latency: time.Duration(latency * float64(time.Second))}, nil
}
