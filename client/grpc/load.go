package skerrygrpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerryhq/skerry/client/internal/prequal"
	"github.com/skerryhq/skerry/client/lb"
)

// A server's load is asked for by a call of its own, whose answer has two numbers.
const (
	loadService   = "skerry.client.Load"
	loadMethod    = "Get"
	inFlightField = "in_flight"
	latencyField  = "latency_seconds"
)

// Load measures a server's load, and reports it to callers whose policy is prequal.
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

// ServerOptions returns the options that measure unary calls. Streams are not counted:
// their cost is unrelated to their duration.
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

// loadTeller is the type that gRPC wants of a service.
type loadTeller interface {
	get() (*structpb.Struct, error)
}

func (l *Load) get() (*structpb.Struct, error) {
	now := l.tracker.Load(time.Since(l.began))
	return structpb.NewStruct(map[string]any{inFlightField: now.InFlight, latencyField: now.Latency.Seconds()})
}

// Register lets the server report its load.
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

// askLoad asks the server at the other end of a connection for its load.
func askLoad(ctx context.Context, n lb.Node) (lb.Load, error) {
	conn, release, err := only(ctx, n.Value.(balancer.Picker))
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
	return prequal.Load(reply.Fields[inFlightField].GetNumberValue(), reply.Fields[latencyField].GetNumberValue())
}
