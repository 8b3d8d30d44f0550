package skerrygrpc

import (
	"context"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/client/lb"
)

const (
	// probeWithin is how long a probe may take.
	probeWithin = time.Second
	// offerWithin is how long an instance that does not serve grpc.health waits for
	// a call that can be made again.
	offerWithin  = time.Second
	probesAtOnce = 16
	// suspectEvery is how often an instance may be asked because calls to it time out.
	suspectEvery = time.Second
)

// probe probes the instances that are out, and asks those that are suspected, until
// ctx ends. Those that do not answer hold up no other.
func (b *p2c) probe(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	slots := make(chan struct{}, probesAtOnce)
	start := func(f func()) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		asking.Go(func() { f(); <-slots; b.awake() })
	}
	asked := map[string]time.Time{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b.mu.Lock()
		picker := b.picker
		b.mu.Unlock()
		due, next := picker.Probes(b.now())
		for _, n := range due {
			start(func() { b.probeOne(ctx, picker, n) })
		}
		if timer.Stop(); next >= 0 {
			timer.Reset(next - b.now())
		}
		select {
		case <-timer.C:
		case <-b.wake:
		case n := <-b.suspects:
			maps.DeleteFunc(asked, func(_ string, at time.Time) bool { return time.Since(at) >= suspectEvery })
			if _, lately := asked[n.Key]; !lately {
				asked[n.Key] = time.Now()
				start(func() { b.confirm(ctx, picker, n) })
			}
		case <-ctx.Done():
			return
		}
	}
}

// suspect has an instance asked for its health, to which a call has timed out and from
// which nothing has come since that began: it may be slow in this, or hang, and users'
// calls must not be the test.
func (b *p2c) suspect(n lb.Node) {
	select {
	case b.suspects <- n:
	default: // there are enough
	}
}

// confirm takes an instance out that does not answer.
func (b *p2c) confirm(ctx context.Context, picker *lb.Balancer, n lb.Node) {
	if ask(ctx, n.Value.(balancer.Picker)) == failing && ctx.Err() == nil {
		picker.Eject(b.now(), n.Key, "calls to it time out, and it does not answer when it is asked for its health")
	}
}

// probeOne asks an instance for its health. One that answers that it does not say is
// alive; whether it works is for a live call to find out, one that gRPC makes again
// elsewhere if it fails. Where there are no such calls, being alive must do.
func (b *p2c) probeOne(ctx context.Context, picker *lb.Balancer, n lb.Node) {
	switch ask(ctx, n.Value.(balancer.Picker)) {
	case healthy:
		picker.Probe(b.now(), n.Key, true)
	case failing:
		picker.Probe(b.now(), n.Key, false)
	case silent:
		timer := time.NewTimer(offerWithin)
		defer timer.Stop()
		select {
		case b.offers <- &offer{picker, n}:
		case <-timer.C:
			picker.Probe(b.now(), n.Key, true)
		case <-ctx.Done():
		}
	}
}

type answer uint8

const (
	failing answer = iota
	healthy
	silent // it answers, and does not say
)

// ask asks for the health of the whole server at the other end of a connection.
func ask(ctx context.Context, connection balancer.Picker) answer {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	conn, release, err := only(ctx, connection)
	if err != nil {
		return failing
	}
	defer release()
	got, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.OK:
		if got.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return healthy
		}
		return failing
	case codes.Unimplemented, codes.NotFound, codes.Unauthenticated, codes.PermissionDenied:
		return silent
	}
	return failing
}

// only returns a client of the server at the other end of a connection, and no other.
func only(ctx context.Context, connection balancer.Picker) (conn grpc.ClientConnInterface, release func(), err error) {
	result, err := connection.Pick(balancer.PickInfo{Ctx: ctx})
	if err != nil {
		return nil, nil, err
	}
	p, release := result.SubConn.GetOrBuildProducer(asker{})
	return p.(grpc.ClientConnInterface), release, nil
}

// asker gives access to a single connection, as gRPC wants it.
type asker struct{}

func (asker) Build(conn any) (balancer.Producer, func()) { return conn, func() {} }

// offer is an instance that waits for a live call to probe it.
type offer struct {
	picker *lb.Balancer
	node   lb.Node
}

// takeOffer sends a call to an instance that waits for one; ok is false when none does.
func (b *p2c) takeOffer(info balancer.PickInfo, c *call) (result balancer.PickResult, ok bool) {
	var o *offer
	select {
	case o = <-b.offers:
	default:
		return result, false
	}
	result, err := o.node.Value.(balancer.Picker).Pick(info)
	if err != nil {
		o.picker.Probe(b.now(), o.node.Key, false)
		return result, false
	}
	c.try(o.node.Key)
	done := result.Done
	result.Done = func(info balancer.DoneInfo) {
		r := classify(&info)
		o.picker.Probe(b.now(), o.node.Key, r == lb.OK || r == lb.Neutral && info.BytesReceived)
		b.awake()
		if done != nil {
			done(info)
		}
	}
	return result, true
}
