package skerrygrpc

import (
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

// pick picks for calls.
type pick struct {
	b      *p2c
	picker *lb.Balancer
}

// Pick implements [balancer.Picker].
func (p *pick) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	var r lb.Request
	c := callOf(info.Ctx)
	if c != nil {
		var first bool
		if r, first = c.request(); first && c.retryable {
			if result, ok := p.b.takeOffer(info, c); ok {
				return result, nil
			}
		}
	} else {
		// gRPC does not tell whether it is a stream. A call without a deadline may be
		// one, and its age must not count.
		_, limited := info.Ctx.Deadline()
		r.Stream = !limited
	}
	if p.picker.Hashes() {
		r.Hash = client.HashOf(info.Ctx)
	}
	picked := p.picker.Pick(p.b.now(), r)
	if picked == nil {
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	p.b.loads.Wonder(p.picker)
	result, err := picked.Node.Value.(balancer.Picker).Pick(info)
	if err != nil {
		picked.Done(p.b.now(), lb.Neutral)
		return result, err
	}
	if c != nil {
		c.try(picked.Node.Key)
	}
	node, done := picked.Node, result.Done
	result.Done = func(info balancer.DoneInfo) {
		suspect := status.Code(info.Err) == codes.DeadlineExceeded && picked.Unheard()
		picked.Done(p.b.now(), classify(&info))
		if suspect {
			p.b.suspect(*node)
		}
		if done != nil {
			done(info)
		}
	}
	return result, nil
}

// classify returns the meaning of a call's end for the instance.
func classify(info *balancer.DoneInfo) lb.Result {
	if info.Err == nil && !info.BytesSent {
		return lb.Neutral // gRPC found the connection gone and picks again
	}
	return resultOf(status.Code(info.Err))
}

// resultOf returns the meaning of a code for the instance.
func resultOf(code codes.Code) lb.Result {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.DataLoss, codes.Unknown:
		return lb.Failed
	case codes.ResourceExhausted:
		return lb.Pushback
	case codes.Canceled, codes.Unimplemented, codes.NotFound:
		return lb.Neutral
	}
	return lb.OK // also an answer that refuses the call
}
