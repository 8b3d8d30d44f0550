package skerrygrpc

import (
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"

	"github.com/skerryhq/skerry/client"
)

// TargetOption configures [NewTargetBuilder].
type TargetOption func(*targetBuilder)

// WithSplit sets how a target names its source and the service in it; default:
// [client.SplitTarget].
func WithSplit(split func(target string) (source, service string, err error)) TargetOption {
	return func(b *targetBuilder) { b.split = split }
}

// WithClient sets the options of the clients that are opened.
func WithClient(opts ...client.Option) TargetOption {
	return func(b *targetBuilder) { b.client = append(b.client, opts...) }
}

// WithOpened calls f with each client that is opened, and the function that f returns
// when the client is closed. WithOpened(group.Add) adds each to a [client.Group]. The
// name is the source without possible secrets.
func WithOpened(f func(name string, c *client.Client) (closed func())) TargetOption {
	return func(b *targetBuilder) { b.opened = f }
}

// WithBalancing sends the balancer, and all that [DialOptions] says in a service
// config, along with the list: for connections that are made without these options.
func WithBalancing(opts ...Option) TargetOption {
	return func(b *targetBuilder) {
		o := newDialOptions(opts)
		b.config = o.serviceConfig()
	}
}

// NewTargetBuilder returns a resolver of targets that say themselves where the service
// is found, such as
//
//	etcd:///10.0.0.1:2379,10.0.0.2:2379/orders.rpc
//	k8s://prod/orders:grpc
//
// for [google.golang.org/grpc.WithResolvers] or, so that each connection of a program
// finds its targets by it, [resolver.Register]. The scheme's source must be imported.
// Connections to services of one source share a client.
func NewTargetBuilder(scheme string, opts ...TargetOption) resolver.Builder {
	b := &targetBuilder{scheme: strings.ToLower(scheme), split: client.SplitTarget, open: map[string]*shared{}}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

type targetBuilder struct {
	scheme string
	split  func(target string) (source, service string, err error)
	client []client.Option
	opened func(name string, c *client.Client) (closed func())
	config string // "": none

	mu   sync.Mutex
	open map[string]*shared // by source
}

// shared is a client of a source, for as long as somebody uses it.
type shared struct {
	*client.Client
	users  int
	closed func()
}

// Scheme implements [resolver.Builder].
func (b *targetBuilder) Scheme() string { return b.scheme }

// Build implements [resolver.Builder]. It does not block.
func (b *targetBuilder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	source, service, err := b.split(target.URL.String())
	if err != nil {
		return nil, fmt.Errorf("skerrygrpc: %w", err)
	}
	c, err := b.acquire(source)
	if err != nil {
		return nil, fmt.Errorf("skerrygrpc: %w", err)
	}
	r := &watching{cc: cc, c: c, service: service, release: func() { b.release(source) }}
	if b.config != "" {
		r.config = cc.ParseServiceConfig(b.config)
	}
	r.start()
	return r, nil
}

func (b *targetBuilder) acquire(source string) (*client.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.open[source]
	if s == nil {
		c, err := client.Open(source, b.client...)
		if err != nil {
			return nil, err
		}
		s = &shared{Client: c, closed: func() {}}
		if b.opened != nil {
			s.closed = b.opened(client.Redact(source), c)
		}
		b.open[source] = s
	}
	s.users++
	return s.Client, nil
}

func (b *targetBuilder) release(source string) {
	b.mu.Lock()
	s := b.open[source]
	last := s.users == 1
	if s.users--; last {
		delete(b.open, source)
	}
	b.mu.Unlock()
	if last {
		s.closed()
		s.Close()
	}
}

// TargetOptions is [DialOptions] for targets that say themselves where the service is
// found (see [NewTargetBuilder]), by any source that is imported.
//
//	import _ "github.com/skerryhq/skerry/client/etcd"
//
//	conn, err := grpc.NewClient("etcd:///10.0.0.1:2379,10.0.0.2:2379/orders.rpc",
//		append(skerrygrpc.TargetOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
//
// Connections that are made with the options of one call share the clients of their
// sources.
func TargetOptions(opts ...Option) []grpc.DialOption {
	o := newDialOptions(opts)
	dial := o.dialOptions()
	for _, scheme := range client.Schemes() {
		dial = append(dial, grpc.WithResolvers(NewTargetBuilder(scheme)))
	}
	return dial
}
