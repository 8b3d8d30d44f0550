// Package node assembles one process: an ordered list of parts for a development agent, a
// server or a node agent. DESIGN.md has the order and its reasons.
package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/lease"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/logstream"
	"github.com/skerryhq/skerry/registry"
	"github.com/skerryhq/skerry/rescue"
	"github.com/skerryhq/skerry/tongue/consul"
	"github.com/skerryhq/skerry/tongue/dns"
)

// Config configures a [Node].
type Config struct {
	Self          skerry.Self
	Role          Role
	Record        Record
	DataDir       string // "": nothing is kept on disk
	Quorum        Quorum
	Cluster       Cluster
	Autopilot     skerry.Autopilot // the first values
	SessionTTLMin time.Duration    // default 10 s

	Door door.Config
	// AllowedHosts are host names that browsers may use, besides those of this node:
	// http_config.allowed_hosts.
	AllowedHosts []string
	Profiles     bool // serve Go's profiles on /debug/pprof/
	Consul       consul.Config
	DNS          dns.Config
	ACL          ACL
	Guard        catalog.Guard
	Leases       lease.Limits
	Shown        door.MetricFilter
	Agent        Agent
	Watched      Watched
	// CheckUpdateInterval is the longest delay until the catalog shows a change of only
	// a check's output; default 250 ms.
	CheckUpdateInterval time.Duration
	// CanaryInterval is the time between two changes that this server makes to time their way; 0: it makes none.
	CanaryInterval time.Duration

	// Applied is called after a reload has applied this configuration.
	Applied func()

	// Exposures are the settings that give strangers access, by name, with explanations.
	// agent/self shows them.
	Exposures map[string]string
	Debug     any // the effective configuration for agent/self, without secrets
	Log       *slog.Logger
	Stream    *logstream.Stream
}

// Record is this node's record in the catalog, and that of the server on it.
type Record struct {
	Address         string // the advertised address
	TaggedAddresses map[string]string
	Meta            map[string]string
	Locality        skerry.Locality
	ServerPort      int // of the service "consul"
}

// Agent configures the agent of the node.
type Agent struct {
	Checks      check.Policy // for registrations over the API
	LocalChecks check.Policy // for those in configuration files and the watched folder
	// OutputMaxSize is the number of bytes kept of a check's output; default 4096.
	OutputMaxSize int
	DiscardOutput bool
	Services      []skerry.Registration
	NodeChecks    []skerry.CheckDefinition
}

// Watched configures the watched folder.
type Watched struct {
	Dir   string // "": none
	Parse func(name string, data []byte) ([]skerry.Registration, []skerry.CheckDefinition, error)
}

// Node is one process.
type Node struct {
	cfg     Config
	log     *slog.Logger
	metrics *prometheus.Registry
	net     *rescue.Net
	door    *door.Door
	shown   *door.Shown

	kept        kept
	table       *catalog.Table
	registry    *registry.Registry
	agents      []skerry.OwnerID // as they are on disk; of noteAgents
	among       among
	attached    attached
	far         *datacenters   // nil: this process is no server that others reach
	listener    *link.Listener // of ports.server; nil: none
	creds       *credentials   // nil: connections with other processes are plain
	shares      shares
	served      served
	store       store
	control     *control // nil: access is not controlled
	fronts      fronts
	hub         *hub.Server
	drains      *drains
	passing     passing
	replicating atomic.Int64 // questions of other datacenters that wait
	began       time.Time

	starting context.Context // ends a wait of New
	parts    []part
	// reload reads the configuration again; leave asks the process to end.
	reload    func() (Config, error)
	leave     func()
	reloading sync.Mutex
}

// New assembles a process and restores its state from disk. It does not listen yet. A server that joins a cluster waits for
// its certificate, until ctx ends. reload reads the configuration again; leave asks the process to end.
func New(ctx context.Context, cfg Config, reload func() (Config, error), leave func()) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Log, began: time.Now(), starting: ctx, reload: reload, leave: leave, metrics: prometheus.NewRegistry()}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.net = rescue.New(n.log, n.metrics)
	n.shown = door.NewShown(n.metrics)
	n.shown.Set(cfg.Shown)
	cfg.Door.Agents = cfg.Role != AgentRole && cfg.Cluster.ServerPort > 0
	n.door = door.New(cfg.Door, n.metrics, n.log)
	for _, start := range cfg.Role.parts() {
		p, err := start(n)
		if err != nil {
			return nil, errors.Join(err, n.stop())
		}
		n.parts = append(n.parts, p)
	}
	return n, nil
}

// Listen opens all addresses, or none.
func (n *Node) Listen() error { return n.door.Listen() }

// Addrs returns the addresses listened on, once Listen has returned.
func (n *Node) Addrs() door.Addrs { return n.door.Addrs() }

// Ready returns an error while this process does not have all that it answers for: the catalog of its
// cluster, or an attachment to a server.
func (n *Node) Ready() error {
	if n.served.ready == nil {
		return nil
	}
	return n.served.ready()
}

// Run serves until ctx ends or a part fails, then stops the parts in the reverse order of
// their start.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range n.parts {
		for _, run := range p.run {
			g.Go(func() error { return run(ctx) })
		}
	}
	return errors.Join(g.Wait(), n.stop())
}

// Close ends a node that was not run.
func (n *Node) Close() error {
	n.door.Close()
	return n.stop()
}

func (n *Node) stop() error {
	var errs []error
	for i := len(n.parts) - 1; i >= 0; i-- {
		if stop := n.parts[i].stop; stop != nil {
			errs = append(errs, stop())
		}
	}
	n.parts = nil
	return errors.Join(errs...)
}
