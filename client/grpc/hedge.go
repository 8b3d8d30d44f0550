package skerrygrpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skerryhq/skerry/client/internal/hedge"
	"github.com/skerryhq/skerry/client/lb"
)

// Hedge sends unary calls of these methods to a second instance too when the first has
// not answered after this time, which had better be about the 95th percentile of their
// latency; the first answer counts. At most a twentieth of the calls are hedged. The
// methods must be idempotent, and their messages protocol buffers. A method is written
// orders.v1.Orders/Get, a whole service orders.v1.Orders.
func Hedge(after time.Duration, methods ...string) Option {
	return func(o *dialOptions) {
		for _, m := range methods {
			o.hedges[wholeMethod(m)] = after
		}
	}
}

// hedger hedges the calls of a connection.
type hedger struct {
	after  map[string]time.Duration // by method or, with a slash at the end, service
	budget *lb.Budget
}

// delay returns when a call of a method is hedged; 0: never.
func (h *hedger) delay(method string) time.Duration {
	if d, ok := h.after[method]; ok {
		return d
	}
	return h.after[serviceOf(method)]
}

// leg is one of the two ways that a hedged call takes.
type leg struct {
	reply   proto.Message
	err     error
	header  metadata.MD
	trailer metadata.MD
	peer    peer.Peer
}

// good reports whether the call has an answer that need not be waited for any more.
func (l *leg) good() bool {
	r := resultOf(status.Code(l.err))
	return r != lb.Failed && r != lb.Pushback
}

// invoke makes a call, and makes it again at another instance if there is no answer in
// time. The first good answer counts, else the last.
func (h *hedger) invoke(ctx context.Context, after time.Duration, req, reply proto.Message, opts []grpc.CallOption, invoke func(ctx context.Context, req, reply any, opts []grpc.CallOption) error) error {
	l, done := hedge.Do(ctx, after, h.budget, func(ctx context.Context, _ bool) func() *leg {
		l := &leg{reply: reply.ProtoReflect().New().Interface()}
		req, opts := proto.Clone(req), l.options(opts)
		return func() *leg {
			l.err = invoke(ctx, req, l.reply, opts)
			return l
		}
	}, (*leg).good, func(*leg) {})
	done()
	return l.answer(reply, opts)
}

// options returns the call's options, with those that are written to replaced by the
// leg's own: both legs would write to them.
func (l *leg) options(opts []grpc.CallOption) []grpc.CallOption {
	out := make([]grpc.CallOption, len(opts))
	for i, o := range opts {
		switch o.(type) {
		case grpc.HeaderCallOption:
			o = grpc.Header(&l.header)
		case grpc.TrailerCallOption:
			o = grpc.Trailer(&l.trailer)
		case grpc.PeerCallOption:
			o = grpc.Peer(&l.peer)
		}
		out[i] = o
	}
	return out
}

// answer hands the leg's answer to the caller.
func (l *leg) answer(reply proto.Message, opts []grpc.CallOption) error {
	if l.err == nil {
		proto.Reset(reply)
		proto.Merge(reply, l.reply)
	}
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = l.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = l.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = l.peer
		}
	}
	return l.err
}
