// Package dns is the DNS front-end: it answers names below a domain ("consul.")
// from the catalog, in the forms that Consul answers, and passes other names on
// to recursors.
//
// The records of a service's answer are prepared once per version of the service
// and kept in its [skerry.View]; a request copies and shuffles these bytes. All
// other answers (nodes, addresses, SOA, PTR, recursion) are made as a
// [github.com/miekg/dns.Msg].
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door/tally"
	"github.com/skerryhq/skerry/rescue"
)

// Server answers DNS questions from a catalog. Its methods may be called from
// many goroutines.
type Server struct {
	self        skerry.Self
	catalog     skerry.Catalog
	discovery   skerry.Discovery
	settled     <-chan struct{}
	queries     Queries
	elsewhere   func(context.Context, []byte) ([]byte, error)
	followed    skerry.Discovery
	readers     skerry.Readers
	datacenters Datacenters
	log         *slog.Logger
	metrics     *metrics
	net         *rescue.Net
	recursion   recursion
	paths       paths
	cookies     cookies
	rates       atomic.Pointer[rates] // made for the first client that can be limited
	epoch       time.Time             // the zero of a question's time
	clients     *tally.Tally          // connections over TCP
	parents     atomic.Pointer[nodeParents]

	toldLimited atomic.Int64 // when limits were last logged, since epoch

	mu    sync.Mutex // held to change the parts of the state
	given Config
	state atomic.Pointer[state]
}

// New returns a server with the configuration cfg, completed from [DefaultConfig].
// Check cfg with [Config.Validate] first: a recursor that is no address is logged and
// left out.
func New(self skerry.Self, c skerry.Catalog, cfg Config) *Server {
	self.Datacenter = strings.ToLower(self.Datacenter)
	s := &Server{
		self: self, catalog: c, discovery: skerry.Discover(c), settled: cfg.Settled, queries: cfg.Queries, elsewhere: cfg.Elsewhere, followed: cfg.Followed, readers: cfg.Readers, datacenters: cfg.Datacenters, net: cfg.Net,
		recursion: recursion{slots: make(chan struct{}, recursions(cfg))},
		clients:   tally.New(maxConnsPerClient), epoch: time.Now(), given: cfg, paths: paths{again: make(chan struct{}, 1)},
	}
	st := newState(self, cfg)
	s.state.Store(st)
	s.log = st.Log
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer); err != nil {
		s.log.Error("registering DNS metrics failed", "error", err)
	}
	return s
}

// Reload replaces the configuration for new questions; those under way finish with
// the old one. Log, Registerer, Net, Settled, Queries, Elsewhere, Followed, Datacenters and Readers stay those of [New].
func (s *Server) Reload(cfg Config) {
	cfg.Log = s.log
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = cfg
	s.renew()
	select {
	case s.paths.again <- struct{}{}:
	default:
	}
}

// Serve answers on both sockets, or on the one that is not nil, until ctx ends.
// It closes both, waits for all answers under way (recursions are given up), and
// returns nil; or an error as soon as a socket fails.
func (s *Server) Serve(ctx context.Context, packet net.PacketConn, stream net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	s.listensOn(packet, stream)
	group.Go(func() error { s.probe(ctx); return nil })
	h := handler{Server: s, ctx: ctx}
	base := func() *dns.Server {
		return &dns.Server{
			Handler:        h,
			UDPSize:        maxQuery,
			ReadTimeout:    firstQueryTimeout,
			IdleTimeout:    func() time.Duration { return idleTimeout },
			MaxTCPQueries:  maxQueriesPerConn,
			MsgAcceptFunc:  accept,
			MsgInvalidFunc: func([]byte, error) { s.metrics.malformed.Inc() },
		}
	}
	if packet != nil {
		srv := base()
		srv.PacketConn = packet
		srv.DecorateWriter = func(w dns.Writer) dns.Writer { return errorWriter{w, s} }
		group.Go(func() error { return run(ctx, srv) })
	}
	if stream != nil {
		srv := base()
		srv.Listener = &limitedListener{Listener: stream, ctx: ctx, clients: s.clients, metrics: s.metrics}
		srv.DecorateReader = func(r dns.Reader) dns.Reader { return &limitedReader{Reader: r, ctx: ctx, metrics: s.metrics} }
		group.Go(func() error { return run(ctx, srv) })
	}
	return group.Wait()
}

// run serves until ctx ends, and then until all handlers have returned.
func run(ctx context.Context, srv *dns.Server) error {
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	failed := make(chan error, 1)
	go func() { failed <- srv.ActivateAndServe() }()
	select {
	case err := <-failed:
		return stopped(ctx, err)
	case <-started:
	}
	select {
	case err := <-failed:
		return stopped(ctx, err)
	case <-ctx.Done():
	}
	err := srv.Shutdown()
	return stopped(ctx, errors.Join(<-failed, err))
}

// stopped drops an error that closing the sockets caused.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
