package skerrygrpc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/skerryhq/skerry/client"
)

// NewBuilder returns a resolver of targets scheme:///service over a client, for
// [google.golang.org/grpc.WithResolvers] or [resolver.Register]. The scheme is any
// word in small letters, and need not be the one that the client was opened with.
//
// A list that is known stays while the registry does not answer. One that is empty is
// passed on only when a registry that answers has proven it.
func NewBuilder(c *client.Client, scheme string) resolver.Builder {
	return &builder{c: c, scheme: strings.ToLower(scheme)}
}

type builder struct {
	c      *client.Client
	scheme string
}

func (b *builder) Scheme() string { return b.scheme }

// nothingWithin is how long calls to an unknown service wait before they fail.
const nothingWithin = 5 * time.Second

// Build implements [resolver.Builder]. It does not block.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := target.Endpoint()
	if service == "" || target.URL.Host != "" {
		return nil, fmt.Errorf("skerrygrpc: the target %q: want %s:///SERVICE, with three slashes", target.URL.String(), b.scheme)
	}
	r := &watching{cc: cc, c: b.c, service: service}
	r.start()
	return r, nil
}

// watching is a resolver of one target.
type watching struct {
	cc      resolver.ClientConn
	c       *client.Client
	service string
	config  *serviceconfig.ParseResult // nil: the dial options say it
	release func()                     // the last step of Close; may be nil

	cancel context.CancelFunc
	late   *time.Timer
	done   sync.WaitGroup
}

// start begins to follow the service.
func (r *watching) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.late = time.AfterFunc(nothingWithin, func() {
		r.cc.ReportError(fmt.Errorf("skerrygrpc: nothing is known of the service %q yet: the registry has not answered, and no instance is kept on disk", r.service))
	})
	r.done.Go(func() { r.run(ctx) })
}

// run passes the lists on as they come.
func (r *watching) run(ctx context.Context) {
	for s := range r.c.Watch(ctx, r.service) {
		if len(s.Instances) == 0 && s.Freshness == client.Cold {
			continue // there may be some by now
		}
		r.late.Stop()
		// An error here means that the list is empty or the config bad: another
		// try would bring the same.
		state := stateOf(&s)
		state.ServiceConfig = r.config
		state.Attributes = state.Attributes.WithValue(followedKey{}, followed{r.c, r.service})
		_ = r.cc.UpdateState(state)
	}
	if ctx.Err() == nil && r.late.Stop() { // before anything was known
		r.cc.ReportError(fmt.Errorf("skerrygrpc: %w", client.ErrClosed))
	}
}

// ResolveNow implements [resolver.Resolver]: the client follows the service anyway.
func (r *watching) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements [resolver.Resolver].
func (r *watching) Close() {
	r.cancel()
	r.late.Stop()
	r.done.Wait()
	if r.release != nil {
		r.release()
	}
}

type (
	instanceKey  struct{}
	freshnessKey struct{}
	positionKey  struct{} // of the caller, as Snapshot has it
	followedKey  struct{}
)

// followed is where a list comes from.
type followed struct {
	c       *client.Client
	service string
}

// attribute is an instance among a gRPC endpoint's attributes.
type attribute struct{ client.Instance }

// Equal is asked by gRPC whether an endpoint has changed.
func (a *attribute) Equal(other any) bool {
	o, ok := other.(*attribute)
	return ok && a.Instance.Equal(&o.Instance)
}

// stateOf returns the list as gRPC has it: an endpoint for each address.
func stateOf(s *client.Snapshot) resolver.State {
	state := resolver.State{
		Endpoints:  make([]resolver.Endpoint, 0, len(s.Instances)),
		Attributes: attributes.New(freshnessKey{}, s.Freshness).WithValue(positionKey{}, s.Position),
	}
	at := make(map[string]int, len(s.Instances))
	for _, i := range s.Instances {
		e := resolver.Endpoint{
			Addresses:  []resolver.Address{{Addr: i.Address}},
			Attributes: attributes.New(instanceKey{}, &attribute{i}),
		}
		if n, twice := at[i.Address]; !twice {
			at[i.Address] = len(state.Endpoints)
			state.Endpoints = append(state.Endpoints, e)
		} else if !i.Draining {
			state.Endpoints[n] = e // it came back under another ID
		}
	}
	// Balancers that do not know of endpoints yet have the addresses.
	for _, e := range state.Endpoints {
		if i, _ := InstanceOf(e); !i.Draining {
			state.Addresses = append(state.Addresses, e.Addresses...)
		}
	}
	if len(state.Addresses) == 0 {
		for _, e := range state.Endpoints {
			state.Addresses = append(state.Addresses, e.Addresses...)
		}
	}
	return state
}

// InstanceOf returns the instance that an endpoint of this package's resolver stands
// for, for the use of other balancers.
func InstanceOf(e resolver.Endpoint) (client.Instance, bool) {
	a, ok := e.Attributes.Value(instanceKey{}).(*attribute)
	if !ok {
		return client.Instance{}, false
	}
	return a.Instance, true
}

// FreshnessOf returns where a list of this package's resolver comes from.
func FreshnessOf(s resolver.State) (client.Freshness, bool) {
	f, ok := s.Attributes.Value(freshnessKey{}).(client.Freshness)
	return f, ok
}
