package node

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/agent"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check/kinds"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/lease"
	"github.com/skerryhq/skerry/propagation"
	"github.com/skerryhq/skerry/registry"
	"github.com/skerryhq/skerry/tongue/consul"
)

// kept is the journal and its keepers.
type kept struct {
	ledger  *journal.Ledger
	agent   *agent.Agent
	leases  *lease.Keeper
	outside *oldExternal
	index   *indexKeeper
}

// startJournal replays the journal into its keepers. They announce nothing yet.
func startJournal(n *Node) (part, error) {
	k := &n.kept
	dir := ""
	if n.cfg.DataDir != "" {
		dir = filepath.Join(n.cfg.DataDir, "agent")
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return part{}, fmt.Errorf("data_dir: %w", err)
		}
		for _, w := range files.Exposed(n.cfg.DataDir, sealFile, tokensFile) {
			n.log.Warn("data_dir: " + w)
		}
	}
	k.leases, k.index = lease.New(n.cfg.Leases), &indexKeeper{}
	k.outside = &oldExternal{log: n.log, nodes: map[string]*skerry.Set{}}
	k.agent = agent.New(n.agentConfig(dir))
	var err error
	k.ledger, err = journal.OpenLedger(dir, map[string]journal.Keeper{
		agent.KeeperName: k.agent, lease.KeeperName: k.leases, externalKeeper: k.outside, indexKeeperName: k.index,
	}, n.log)
	if err != nil {
		return part{}, err
	}
	return part{run: loops(k.ledger.Run), stop: k.ledger.Close}, nil
}

// served is the catalog and its servers as the other parts use them. The part that makes the
// catalog fills it in.
type served struct {
	announcer skerry.Announcer
	carrier   skerry.Carrier // of this process's own set
	guard     consul.Guard
	cluster   skerry.Cluster
	servers   skerry.Servers // nil: this server is alone
	// settled is closed when the catalog can be answered from; nil: it always can.
	settled <-chan struct{}
	ready   func() error // nil: the catalog is whole from the start
}

const tickEvery = 250 * time.Millisecond

// startCatalog makes the table, and a registry of one that writes it. The first index lies above those of
// earlier runs, and no owner expires until the longest lease has passed.
func startCatalog(n *Node) (part, error) {
	n.table = catalog.New(n.tableConfig())
	cfg, err := n.registryConfig()
	if err != nil {
		return part{}, err
	}
	cfg.Members = []cluster.ServerID{cfg.Self}
	n.registry = registry.New(cfg)
	n.kept.index.start(n.kept.ledger, n.table)
	n.served = served{
		announcer: n.registry, carrier: n.registry, guard: guard{n.registry},
		cluster: skerry.Alone(skerry.Member{Self: n.cfg.Self, Address: n.address()}),
	}
	if len(cfg.Expected) > 0 {
		n.served.settled = n.registry.Settled()
	}
	tick := tickEvery
	if !n.cfg.Self.Server {
		tick = time.Second
	}
	return part{run: loops(n.registry.Run, every(tick, n.tick))}, nil
}

// registryConfig configures the registry of any role.
func (n *Node) registryConfig() (cfg registry.Config, err error) {
	cfg = registry.Config{
		Self: cluster.ServerID(n.cfg.Self.Name), Life: cluster.Life(time.Now().UnixMilli()),
		Timing: cluster.Timing{Recover: max(n.kept.leases.Longest(), 1)}, // 0 is the default
		Table:  n.table, Judge: n.judge(), Departed: n.kept.leases.Departed, Log: n.log,
	}
	if n.cfg.Self.Server {
		cfg.Registerer = n.metrics
		n.passing.meter = propagation.New(n.cfg.Self.Name, n.metrics)
		cfg.Meter, cfg.Agents = n.passing.meter, n.askFollowers
	} else { // an agent has no other part of the cluster's, and no leases: it costs little while it is idle
		cfg.TickEvery = time.Second
	}
	cfg.Expected, err = n.lastAgents()
	return cfg, err
}

// tableConfig configures the table.
func (n *Node) tableConfig() catalog.Config {
	return catalog.Config{
		FirstIndex: catalog.FirstIndex(time.Now(), serverTag(n.cfg.Self.ID), n.kept.index.last()),
		Recover:    n.kept.leases.Longest(), Guard: n.cfg.Guard, OutputEvery: n.cfg.CheckUpdateInterval,
	}
}

// tick lets the catalog forget old departures, and keeps the last index.
func (n *Node) tick() {
	n.table.Tick()
	n.kept.index.note()
}

// serverTag distinguishes the indexes of this server from those of others.
func serverTag(nodeID string) uint8 {
	h := fnv.New32a()
	h.Write([]byte(nodeID))
	return uint8(h.Sum32())
}

// startOwners announces the replayed sets and the registrations of the configuration.
func startOwners(n *Node) (part, error) {
	k := &n.kept
	k.leases.Show(n.table.Whole)
	if err := k.leases.Start(k.ledger, n.served.announcer, n.among.away); err != nil {
		return part{}, err
	}
	k.outside.ledger = k.ledger
	// The agent comes last: its alias checks look at the instances of the others.
	if err := k.agent.Start(k.ledger, n.served.carrier); err != nil {
		return part{}, err
	}
	stop := func() error {
		k.agent.Close()
		return nil
	}
	if err := k.agent.Configure(context.Background(), n.cfg.Agent.Services, n.cfg.Agent.NodeChecks); err != nil {
		stop()
		return part{}, err
	}
	return part{run: loops(k.agent.Run), stop: stop}, nil
}

func (n *Node) agentConfig(dir string) agent.Config {
	cfg := n.cfg.Agent
	out := agent.Config{
		Owner: skerry.OwnerID(ownerOf(n.cfg.Self.Name)), Node: n.cfg.Record.node(n.cfg.Self), Dir: dir,
		KeepTokens: n.cfg.Role == AgentRole && len(n.cfg.Cluster.Join) > 0 && n.cfg.ACL.Enabled, Policy: cfg.Checks, LocalPolicy: cfg.LocalChecks,
		Runners: n.door.Shares().Runners, OutputMaxSize: cfg.OutputMaxSize, DiscardOutput: cfg.DiscardOutput,
		Log: n.log, Registerer: n.metrics, Net: n.net,
		Kinds: kinds.All(kinds.Env{Log: n.log, Alias: n.aliased}),
		NodeChecks: []*skerry.Check{{
			ID: "serfHealth", Name: "Serf Health Status", Status: skerry.Passing, Output: "Agent alive and reachable",
		}},
	}
	if n.attached.attachment != nil {
		out.MaxRecords = skerry.MaxRecords
	}
	if n.cfg.Self.Server {
		out.Own = []*skerry.Instance{{
			ID: serversService, Service: serversService, Port: n.cfg.Record.ServerPort, Weights: skerry.Weights{Passing: 1, Warning: 1},
			Meta: map[string]string{"version": consul.SpokenVersion, "skerry": n.cfg.Consul.Version},
		}}
	}
	return out
}

// node returns the record as the catalog shows it.
func (r *Record) node(self skerry.Self) skerry.Node {
	node := skerry.Node{
		Name: self.Name, ID: self.ID, Datacenter: self.Datacenter, Address: r.Address,
		TaggedAddresses: map[string]string{"lan": r.Address, "wan": r.Address},
		Meta:            map[string]string{"consul-network-segment": "", "consul-version": consul.SpokenVersion},
	}
	if ip, err := netip.ParseAddr(r.Address); err == nil {
		family := "_ipv6"
		if ip.Is4() {
			family = "_ipv4"
		}
		node.TaggedAddresses["lan"+family], node.TaggedAddresses["wan"+family] = r.Address, r.Address
	}
	maps.Copy(node.TaggedAddresses, r.TaggedAddresses)
	maps.Copy(node.Meta, r.Meta)
	if r.Locality != (skerry.Locality{}) {
		node.Locality = &r.Locality
	}
	return node
}

// aliased returns the checks that an alias check follows. It is called once checks run,
// after the catalog was made.
func (n *Node) aliased(node, service string) (checks []*skerry.Check, changed <-chan struct{}, found bool) {
	if node == "" {
		node = n.cfg.Self.Name
	}
	_, changed = n.table.Watch(skerry.Topic{Kind: skerry.TopicNode, Name: node})
	v := n.table.Node(node)
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
