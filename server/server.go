// Package server puts one process together: the journal, the node's agent, the
// catalog, the front-ends, in the order in which they live. DESIGN.md has the map.
package server

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/agent"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/check/kinds"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/rescue"
	"github.com/skerryhq/skerry/tongue/consul"
	"github.com/skerryhq/skerry/tongue/dns"
)

// Config is one process's configuration.
type Config struct {
	NodeMeta        map[string]string
	TaggedAddresses map[string]string
	Advertise       string // the node's address in the catalog
	Locality        skerry.Locality
	ServerPort      int    // of the service that stands for the servers
	DataDir         string // "": keep nothing
	Quorum          Quorum
	SessionTTLMin   time.Duration // default 10 s

	HTTP  []string // addresses: host:port or unix:///path; empty: do not listen
	HTTPS []string
	DNS   []string
	Unix  UnixSocket
	TLS   TLS

	Consul consul.Config // datacenter and node name are taken from here
	DNSs   dns.Config
	Limits Limits
	// AllowedHosts are host names by which browsers may call, beside those that are
	// known to be ours: http_config.allowed_hosts.
	AllowedHosts []string
	// Exposures are what the configuration opens to strangers, told in agent/self by name.
	Exposures map[string]string
	ACL       ACL
	Guard     catalog.Guard
	Leases    LeaseLimits
	Shown     MetricFilter
	Checks    check.Policy // of what the API registers
	// LocalChecks is of what configuration files and the watched folder register.
	LocalChecks check.Policy

	CheckOutputMaxSize int
	// CheckUpdateInterval is how long a change of a check's output alone may wait until
	// the catalog shows it; default 250 ms.
	CheckUpdateInterval time.Duration
	// HTTPSHandshake is the longest that a TLS handshake may take; 0: 10 s, as a request's head.
	HTTPSHandshake     time.Duration
	DiscardCheckOutput bool
	Services           []skerry.Registration
	NodeChecks         []skerry.CheckDefinition
	WatchDir           string
	// ParseFile reads a file of the watched folder.
	ParseFile func(name string, data []byte) ([]skerry.Registration, []skerry.CheckDefinition, error)

	// Applied is called when a reload has put this configuration in force.
	Applied func()

	Debug  any // the effective configuration for agent/self, without secrets
	Log    *slog.Logger
	Stream *LogStream
}

// Server is a running process.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics *prometheus.Registry
	net     *rescue.Net
	shown   shownMetrics
	ledger  *journal.Ledger
	table   *catalog.Table
	agent   *agent.Agent
	leases  *leases
	outside *oldExternal
	kv      *quorum.Eventual
	tempDir string // of a store that is not kept
	decided *decided.Store
	decider *decided.Decider
	control *control // nil: access is not controlled
	queries *decided.Queries
	events  *decided.Events
	coords  *decided.Coordinates
	records *decided.Externals
	index   *indexKeeper
	dns     *dns.Server
	tongue  handlerBox
	// requests are counted over reloads, each of which makes a new tongue.
	requests *consul.Metrics
	site     *door.Site
	budget   *door.Budget
	cert     func() []string // names in the certificate of HTTPS; nil without
	intake   *intake
	backend  consul.Backend

	reload func() (Config, error)
	leave  func()
	ready  sync.Mutex // one reload at a time

	// Addrs are the addresses listened on, once Listen has returned.
	Addrs Addrs
	lists listeners
}

// Addrs are addresses by protocol.
type Addrs struct{ HTTP, HTTPS, DNS []string }

const tickEvery = 250 * time.Millisecond

// New puts the process together and takes back what was kept on disk. reload
// returns the configuration anew; leave asks the process to end.
func New(cfg Config, reload func() (Config, error), leave func()) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Log, reload: reload, leave: leave, metrics: prometheus.NewRegistry()}
	s.intake = newIntake(shareFiles(fileLimit()), cfg.Log)
	s.shown.all = s.metrics
	s.shown.set(cfg.Shown)
	s.net = rescue.New(s.log, s.metrics)
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// Keepers first: the journal replays into them.
	relay := &lateAnnouncer{}
	s.leases, s.index = newLeases(relay, cfg.Leases), &indexKeeper{}
	s.outside = &oldExternal{log: cfg.Log, nodes: map[string]*skerry.Set{}}
	s.agent = agent.New(s.agentConfig(relay), relay)
	dir := ""
	if cfg.DataDir != "" {
		dir = filepath.Join(cfg.DataDir, "agent")
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
		for _, w := range files.Exposed(cfg.DataDir, sealFile, tokensFile) {
			s.log.Warn("data_dir: " + w)
		}
	}
	var err error
	s.ledger, err = journal.OpenLedger(dir, map[string]journal.Keeper{
		agent.KeeperName: s.agent, leaseKeeper: s.leases, externalKeeper: s.outside, indexKeeperName: s.index,
	}, cfg.Log)
	if err != nil {
		return nil, err
	}
	s.table = catalog.New(catalog.Config{
		FirstIndex: catalog.FirstIndex(time.Now(), serverTag(cfg.Consul.NodeID), s.index.last()),
		TickEvery:  tickEvery, Recover: s.leases.longest(), Guard: cfg.Guard, Log: cfg.Log,
		OutputEvery: cfg.CheckUpdateInterval,
	})
	relay.Table = s.table
	if err := s.restore(); err != nil {
		s.ledger.Close()
		return nil, err
	}
	s.openKV()
	s.decided, s.decider = newDecided(s.kv, s.table, &s.cfg)
	s.records = &decided.Externals{KV: s.kv, Catalog: s.table, Announcer: s.table, Store: s.decided, Log: s.log}
	s.decided.External = s.records
	if s.control, err = s.newControl(); err != nil {
		return nil, errors.Join(err, s.closeKV(), s.ledger.Close())
	}
	return s, s.frontEnds()
}

// lateAnnouncer stands for the catalog until it is made: it cannot be made before
// the journal was read, and the journal needs those who announce to it.
type lateAnnouncer struct{ *catalog.Table }

func (s *Server) restore() error {
	s.index.start(s.ledger, s.table)
	if err := s.leases.start(s.ledger); err != nil {
		return err
	}
	s.outside.ledger = s.ledger
	// The agent comes last: its alias checks look at the others' instances.
	if err := s.agent.Start(s.ledger); err != nil {
		return err
	}
	return s.agent.Configure(context.Background(), s.cfg.Services, s.cfg.NodeChecks)
}

// serverTag tells this server's indexes from another's.
func serverTag(nodeID string) uint8 {
	h := fnv.New32a()
	h.Write([]byte(nodeID))
	return uint8(h.Sum32())
}

func (s *Server) agentConfig(c skerry.Catalog) agent.Config {
	cfg := s.cfg
	node := skerry.Node{
		Name: cfg.Consul.NodeName, ID: cfg.Consul.NodeID, Datacenter: cfg.Consul.Datacenter, Address: cfg.Advertise,
		TaggedAddresses: map[string]string{"lan": cfg.Advertise, "wan": cfg.Advertise},
		Meta:            map[string]string{"consul-network-segment": "", "consul-version": consul.SpokenVersion},
	}
	if ip, err := netip.ParseAddr(cfg.Advertise); err == nil {
		family := "_ipv6"
		if ip.Is4() {
			family = "_ipv4"
		}
		node.TaggedAddresses["lan"+family], node.TaggedAddresses["wan"+family] = cfg.Advertise, cfg.Advertise
	}
	maps.Copy(node.TaggedAddresses, cfg.TaggedAddresses)
	maps.Copy(node.Meta, cfg.NodeMeta)
	if cfg.Locality != (skerry.Locality{}) {
		node.Locality = &cfg.Locality
	}
	out := agent.Config{
		Owner: skerry.OwnerID("agent/" + node.Name), Node: node, Policy: cfg.Checks, LocalPolicy: cfg.LocalChecks,
		Runners: s.intake.shares.runners, OutputMaxSize: cfg.CheckOutputMaxSize, DiscardOutput: cfg.DiscardCheckOutput,
		Log: cfg.Log, Registerer: s.metrics, Net: s.net,
		Kinds: kinds.All(kinds.Env{Log: cfg.Log, Alias: aliasLookup(c, node.Name)}),
		NodeChecks: []*skerry.Check{{
			ID: "serfHealth", Name: "Serf Health Status", Status: skerry.Passing, Output: "Agent alive and reachable",
		}},
	}
	if cfg.DataDir != "" {
		out.Dir = filepath.Join(cfg.DataDir, "agent")
	}
	if cfg.Consul.Server {
		out.Own = []*skerry.Instance{{
			ID: "consul", Service: "consul", Port: cfg.ServerPort, Weights: skerry.Weights{Passing: 1, Warning: 1},
			Meta: map[string]string{"version": consul.SpokenVersion, "skerry": cfg.Consul.Version},
		}}
	}
	return out
}

// aliasLookup reads the checks that an alias check follows.
func aliasLookup(c skerry.Catalog, own string) func(node, service string) ([]*skerry.Check, <-chan struct{}, bool) {
	return func(node, service string) ([]*skerry.Check, <-chan struct{}, bool) {
		if node == "" {
			node = own
		}
		_, changed := c.Watch(skerry.Topic{Kind: skerry.TopicNode, Name: node})
		v := c.Node(node)
		if v == nil {
			return nil, changed, false
		}
		if service == "" {
			return v.InstanceChecks(""), changed, true
		}
		for _, i := range v.Instances {
			if i.ID == service {
				// Consul counts the node's checks with the instance's.
				return append(v.InstanceChecks(""), v.InstanceChecks(service)...), changed, true
			}
		}
		return nil, changed, false
	}
}

// frontEnds makes the tongues. They do not listen yet.
func (s *Server) frontEnds() error {
	s.events = decided.NewEvents(s.kv, s.agent, s.log)
	s.coords = decided.NewCoordinates(s.kv, s.table, s.log)
	s.queries = &decided.Queries{KV: s.kv, Catalog: s.table, From: s.coords.From, Log: s.log, Sealer: &sealer{dir: s.cfg.DataDir}}
	s.backend = consul.Backend{
		Catalog: s.table, Registrar: s.agent, Local: s.agent, Leases: s.leases, External: s.records,
		Keys: s.decided, Sessions: s.decided, Queries: s.queries,
		Snapshots: snapshots{s.decided, archive.Meta{
			Software: "skerry " + s.cfg.Consul.Version, Datacenter: s.cfg.Consul.Datacenter, Node: s.cfg.Consul.NodeName,
		}, s.log},
		Guard: s.table, Events: s.events, Coords: s.coords, Process: (*process)(s),
		Gatherer: &s.shown, Roots: newAuthority(), Lot: &consul.Lot{}, Net: s.net,
	}
	if c := s.control; c != nil {
		s.backend.Gate, s.backend.ACL, s.backend.Tokens = c.gate, c.store, c.tokens
		if c.audit != nil {
			s.backend.Audit = c.audit
		}
	}
	s.registerMetrics()
	s.requests = consul.NewMetrics(s.metrics)
	t, err := consul.New(s.cfg.Consul, s.backend, s.requests)
	if err != nil {
		return err
	}
	s.tongue.set(t)
	s.site = door.NewSite(&s.tongue, s.tongue.changes, s.metrics, s.log)
	s.site.Set(s.hosts(&s.cfg))
	s.budget = door.NewBudget(s.site, s.cfg.Limits.withDefaults().streams(), s.metrics)
	d := s.cfg.DNSs
	d.Registerer, d.Net, d.Queries = s.metrics, s.net, s.queries
	d.MaxRecursions = s.intake.shares.recursions
	seen := s.control.seen(s.table)
	if s.control != nil {
		d.Queries = s.control.knownQueries(&decided.Queries{KV: s.kv, Catalog: seen, From: s.coords.From, Log: s.log, Sealer: s.queries.Sealer})
	}
	s.dns = dns.New(seen, d)
	return nil
}

// hosts are the names by which a browser may call.
func (s *Server) hosts(cfg *Config) door.Hosts {
	return door.Hosts{
		Node: s.cfg.Consul.NodeName, Zones: []string{cfg.DNSs.Domain, cfg.DNSs.AltDomain}, Allowed: cfg.AllowedHosts, Certificate: s.cert,
	}
}

// Run serves until ctx ends or a part fails, then ends in the reverse order:
// first nobody new is let in, then the checks stop, then the journal is closed.
func (s *Server) Run(ctx context.Context) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	g, inner := errgroup.WithContext(inner)
	limits := s.cfg.Limits.withDefaults()
	web := newHTTPServer(door.Rescue(noteDoor(limitRate(s.budget, limits), s.backend.Audit), s.net), limits, s.intake, s.log)
	back := newReturned()
	s.backend.Lot.Return = back.put
	for _, l := range append(s.lists.http, back) {
		g.Go(func() error { return web.serve(l) })
	}
	for i := range s.lists.packets {
		g.Go(func() error { return s.dns.Serve(inner, s.lists.packets[i], s.lists.streams[i]) })
	}
	g.Go(func() error { s.agent.Run(inner); return nil })
	g.Go(func() error { s.ledger.Run(inner); return nil })
	g.Go(func() error { s.tick(inner); return nil })
	g.Go(func() error { s.decider.Run(inner); return nil })
	g.Go(func() error { s.records.Run(inner); return nil })
	g.Go(func() error { s.events.Run(inner); return nil })
	g.Go(func() error { s.coords.Run(inner); return nil })
	g.Go(func() error { s.queries.Run(inner); return nil })
	g.Go(func() error { s.outside.move(inner, s.records.Adopt); return nil })
	g.Go(func() error { s.control.run(inner); return nil })
	g.Go(func() error { thrift(inner); return nil })
	if s.cfg.WatchDir != "" {
		g.Go(func() error { s.watchDir(inner); return nil })
	}
	g.Go(func() error {
		<-inner.Done()
		s.backend.Lot.Close()
		web.stop()
		return nil
	})
	err := g.Wait()
	s.agent.Close()
	return errors.Join(err, s.control.close(), s.closeKV(), s.ledger.Close())
}

// Close ends a server that was not run.
func (s *Server) Close() error {
	s.lists.close()
	s.agent.Close()
	return errors.Join(s.control.close(), s.closeKV(), s.ledger.Close())
}

// tick lets the catalog judge the leases.
func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if lost := s.table.Tick(); len(lost) > 0 {
				s.log.Info("owners are lost: they were silent for longer than their lease", "owners", lost)
				s.leases.lost(lost)
			}
			s.index.note()
		}
	}
}
