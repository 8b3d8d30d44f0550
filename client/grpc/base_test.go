package skerrygrpc

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/skerryhq/skerry/client"
)

// inTurn picks the connections of package base one after another.
type inTurn struct {
	conns []balancer.SubConn
	next  int
}

func (p *inTurn) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	p.next++
	return balancer.PickResult{SubConn: p.conns[p.next%len(p.conns)]}, nil
}

type inTurnBuilder struct{}

func (inTurnBuilder) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &inTurn{}
	for c := range info.ReadySCs {
		p.conns = append(p.conns, c)
	}
	return p
}

// Balancers made of gRPC's package base, as frameworks have them, read addresses; they
// get those that take calls, or all if none does.
func TestBaseBalancer(t *testing.T) {
	balancer.Register(base.NewBalancerBuilder("test_in_turn", inTurnBuilder{}, base.Config{}))
	backends := serveAll(t, 3, false)
	list := make([]client.Instance, len(backends))
	for n, b := range backends {
		list[n] = client.Instance{ID: b.address, Service: service, Address: b.address, Draining: n == 0}
	}
	c, m := newClient(t)
	m.Update(service, client.Update{Instances: slices.Clone(list)})
	conn, err := grpc.NewClient(Scheme+":///"+service, plaintext, grpc.WithResolvers(NewBuilder(c, Scheme)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingPolicy":"test_in_turn"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, 10*time.Second, "those that take calls are called", func() bool { return shares(t, conn, backends) == 2 })
	if n := backends[0].calls.Load(); n > 0 {
		t.Errorf("an instance that is draining is called %d times", n)
	}
	for n := range list {
		list[n].Draining = true
	}
	m.Update(service, client.Update{Instances: slices.Clone(list)})
	eventually(t, 10*time.Second, "all are called", func() bool { return shares(t, conn, backends) == 3 })
}
