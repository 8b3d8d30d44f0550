package skerrygrpc

import (
	"context"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/skerryhq/skerry/client/lb"
)

type callKey struct{}

// call is the picker's data of a call besides its method. All attempts of a call share
// it.
type call struct {
	retryable bool // gRPC makes it again elsewhere if it fails
	stream    bool

	mu    sync.Mutex
	tried []string // the instances that attempts went to
}

// request returns how to pick for the next attempt.
func (c *call) request() (r lb.Request, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Stream = c.stream
	if len(c.tried) == 0 {
		return r, true
	}
	tried := slices.Clip(c.tried)
	r.Exclude = func(n *lb.Node) bool { return slices.Contains(tried, n.Key) }
	return r, false
}

func (c *call) try(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried = append(c.tried, key)
}

// callOf returns the call of a pick; nil where no interceptor of this package was.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// methods are names of methods and, with a slash at the end, of services.
type methods map[string]bool

func (m methods) has(method string) bool { return m[method] || m[serviceOf(method)] }

// serviceOf returns a method's service, with a slash at the end.
func serviceOf(method string) string { return method[:strings.LastIndexByte(method, '/')+1] }

// interceptors put the picker's data into the context, and hedge.
func interceptors(retryable methods, h *hedger) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			ctx = context.WithValue(ctx, callKey{}, &call{retryable: retryable.has(method)})
			if after := h.delay(method); after > 0 {
				request, ok := req.(proto.Message)
				answer, both := reply.(proto.Message)
				if ok && both {
					return h.invoke(ctx, after, request, answer, opts, func(ctx context.Context, req, reply any, opts []grpc.CallOption) error {
						return invoke(ctx, method, req, reply, cc, opts...)
					})
				}
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(context.WithValue(ctx, callKey{}, &call{stream: true}), desc, cc, method, opts...)
		}),
	}
}
