package skerrygrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/internal/prequal"
	"github.com/skerryhq/skerry/client/lb"
)

// Balancer is the name of the balancer in service configs.
const Balancer = "skerry_p2c"

func init() { RegisterBalancer(Balancer) }

// RegisterBalancer registers the balancer under another name, such as the one that a
// framework asks for. It must be called before connections are made, as from an init
// function. A config is not needed.
func RegisterBalancer(name string) { balancer.Register(policy{name}) }

var logger = grpclog.Component("skerry")

// policy makes balancers.
type policy struct{ name string }

// Name implements [balancer.Builder].
func (p policy) Name() string { return p.name }

// parsed is a config on its way through gRPC.
type parsed struct {
	serviceconfig.LoadBalancingConfig
	Config
}

// ParseConfig implements [balancer.ConfigParser].
func (policy) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", Balancer, err)
	}
	return &parsed{Config: c}, nil
}

// Build implements [balancer.Builder].
func (policy) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b := &p2c{
		ClientConn: cc, service: opts.Target.Endpoint(), began: time.Now(), started: map[string]start{},
		wake: make(chan struct{}, 1), offers: make(chan *offer), suspects: make(chan lb.Node, probesAtOnce),
	}
	b.loads = prequal.NewAsker(b.now, askLoad)
	b.picker = lb.New(b.config.options(b.observe))
	b.children = endpointsharding.NewBalancer(b, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx, b.cancel = ctx, cancel
	b.done.Go(func() { b.probe(ctx) })
	return b
}

// p2c is a balancer of one service. Its children, a pick_first for each endpoint, report
// their states by UpdateState.
type p2c struct {
	balancer.ClientConn
	children balancer.Balancer
	service  string
	began    time.Time // where the picker's clock began

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	done     sync.WaitGroup
	wake     chan struct{} // there may be something to probe
	offers   chan *offer   // instances that wait for a live call to probe them
	suspects chan lb.Node  // instances that calls have timed out at

	loads *prequal.Asker

	mu        sync.Mutex // never held while a child or gRPC is called
	config    Config
	picker    *lb.Balancer
	started   map[string]start // by instance
	freshness string
	position  float64 // of the caller
	err       error   // of the resolver, since the last list
	asking    bool    // for loads
	detach    func()  // from the client that the lists come from; nil if from none
}

// states returns the state of the instances.
func (b *p2c) states() []lb.State {
	b.mu.Lock()
	picker := b.picker
	b.mu.Unlock()
	return picker.States(b.now())
}

// start is when an instance was registered, by its own clock and by ours.
type start struct {
	said time.Time
	at   time.Duration
}

// now is the picker's clock.
func (b *p2c) now() time.Duration { return time.Since(b.began) }

// UpdateClientConnState takes a list, and a config if there is one.
func (b *p2c) UpdateClientConnState(s balancer.ClientConnState) error {
	var c Config
	switch given := s.BalancerConfig.(type) {
	case nil:
	case *parsed:
		c = given.Config
	default:
		return fmt.Errorf("%s: a config of type %T is another balancer's", Balancer, given)
	}
	b.mu.Lock()
	if c != b.config {
		b.config = c
		b.picker = lb.New(c.options(b.observe))
		if c.Policy == lb.Prequal && !b.asking {
			b.asking = true
			b.loads.Start(b.ctx, &b.done)
		}
	}
	if f, ok := s.ResolverState.Attributes.Value(followedKey{}).(followed); ok && b.detach == nil {
		b.detach = f.c.Attach(f.service, "grpc", b.states)
	}
	b.err, b.freshness = nil, ""
	b.position, _ = s.ResolverState.Attributes.Value(positionKey{}).(float64)
	if f, ok := FreshnessOf(s.ResolverState); ok {
		b.freshness = f.String()
	}
	s.ResolverState.Endpoints = b.choose(s.ResolverState.Endpoints)
	b.mu.Unlock()
	return b.children.UpdateClientConnState(balancer.ClientConnState{ResolverState: pickfirst.EnableHealthListener(s.ResolverState)})
}

// choose returns the endpoints to connect to: the caller's part of those that take
// calls, and of those that are draining, in case the others do not answer. Called with
// mu held.
func (b *p2c) choose(all []resolver.Endpoint) []resolver.Endpoint {
	var up, draining []lb.Node
	started := make(map[string]start, len(all))
	for _, e := range all {
		if len(e.Addresses) == 0 {
			continue
		}
		i, key := instance(e)
		s := b.started[key]
		if !i.Started.IsZero() && !i.Started.Equal(s.said) {
			// Another host's clock may be ahead of ours.
			s = start{i.Started, min(i.Started.Sub(b.began), b.now())}
		}
		started[key] = s
		if n := (lb.Node{Key: key, Value: e}); i.Draining {
			draining = append(draining, n)
		} else {
			up = append(up, n)
		}
	}
	held := func(key string) bool { _, ok := b.started[key]; return ok }
	subset := b.config.subset(b.position)
	var chosen []resolver.Endpoint
	for _, n := range append(subset.Of(up, held), subset.Of(draining, held)...) {
		chosen = append(chosen, n.Value.(resolver.Endpoint))
	}
	b.started = started
	return chosen
}

// instance returns an endpoint's instance, and the key of its statistics: its ID, or
// its address if another resolver has found it.
func instance(e resolver.Endpoint) (client.Instance, string) {
	if i, ok := InstanceOf(e); ok {
		return i, i.ID
	}
	return client.Instance{}, e.Addresses[0].Addr
}

// ResolverError implements [balancer.Balancer]. The list is kept.
func (b *p2c) ResolverError(err error) {
	b.mu.Lock()
	b.err = err
	b.mu.Unlock()
	b.children.ResolverError(err)
}

// UpdateState is called by the children, one after another, and after each list.
func (b *p2c) UpdateState(s balancer.State) {
	children := endpointsharding.ChildStatesFromPicker(s.Picker)
	b.mu.Lock()
	nodes, ready := b.nodes(children)
	picker := b.picker
	picker.Update(b.now(), nodes)
	err := b.empty()
	b.mu.Unlock()
	b.awake()
	switch {
	case len(children) == 0:
		s.Picker = base.NewErrPicker(err)
	case ready:
		// A new one, so that calls that wait are picked for.
		s = balancer.State{ConnectivityState: connectivity.Ready, Picker: &pick{b, picker}}
	}
	b.ClientConn.UpdateState(s)
}

// nodes returns the children as the picker knows them. Those that are draining are up
// only if no other is. Called with mu held.
func (b *p2c) nodes(children []endpointsharding.ChildState) (nodes []lb.Node, ready bool) {
	nodes = make([]lb.Node, len(children))
	draining := make([]bool, len(children))
	other := false
	for n, c := range children {
		i, key := instance(c.Endpoint)
		up := c.State.ConnectivityState == connectivity.Ready
		nodes[n] = lb.Node{Key: key, Weight: float64(i.Weight), Zone: i.Zone, Started: b.started[key].at, Down: !up, Value: c.State.Picker}
		draining[n] = i.Draining
		ready = ready || up
		other = other || up && !i.Draining
	}
	for n := range nodes {
		nodes[n].Down = nodes[n].Down || draining[n] && other
	}
	return nodes, ready
}

// empty returns the reason why there is no instance. Called with mu held.
func (b *p2c) empty() error {
	switch {
	case b.err != nil:
		return b.err
	case b.freshness != "":
		return fmt.Errorf("skerrygrpc: the service %q has no instances (the list is %s)", b.service, b.freshness)
	}
	return errors.New("skerrygrpc: no addresses have been found")
}

// observe reports instances that go out and come in.
func (b *p2c) observe(e lb.Event) {
	verb := "is let in again"
	if e.Out {
		verb = "is out"
	}
	logger.Infof("%s: instance %s %s: %s", b.service, e.Node.Key, verb, e.Reason)
	b.awake()
}

// awake lets the probing look again.
func (b *p2c) awake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// UpdateSubConnState implements [balancer.Balancer]; the children listen themselves.
func (b *p2c) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements [balancer.Balancer].
func (b *p2c) ExitIdle() { b.children.ExitIdle() }

// Close implements [balancer.Balancer].
func (b *p2c) Close() {
	b.cancel()
	b.children.Close()
	b.done.Wait()
	if b.detach != nil {
		b.detach()
	}
}
