package node

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/door/park"
	"github.com/skerryhq/skerry/tongue/consul"
	"github.com/skerryhq/skerry/tongue/dns"
)

// fronts are the front-ends.
type fronts struct {
	consul  consulBox
	dns     *dns.Server
	askers  askers      // of DNS at agents
	made    atomic.Bool // all of them
	lot     *park.Lot
	backend consul.Backend
	// requests counts over reloads, each of which makes a new front-end.
	requests *consul.Metrics
}

// consulBox serves requests by the front-end of the present configuration.
type consulBox struct{ tongue atomic.Pointer[consul.Tongue] }

// ServeHTTP implements [http.Handler].
func (b *consulBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.tongue.Load().ServeHTTP(w, r)
}

// Admits implements [door.API].
func (b *consulBox) Admits(w http.ResponseWriter, r *http.Request, resource skerry.Resource) bool {
	return b.tongue.Load().Admits(w, r, resource)
}

func (b *consulBox) changes(r *http.Request) bool { return b.tongue.Load().Changes(r) }

// startFronts makes the front-ends. They do not listen yet.
func startFronts(n *Node) (part, error) {
	n.registerMetrics()
	f := &n.fronts
	f.requests = consul.NewMetrics(n.metrics)
	f.backend = n.consulBackend()
	lot := park.Config{Return: n.door.Return, Waiting: f.requests.Blocking(), Gate: f.backend.Gate, Net: n.net}
	f.lot = park.New(lot)
	f.backend.Lot = f.lot
	t, err := consul.New(n.cfg.Consul, f.backend, f.requests)
	if err != nil {
		return part{}, err
	}
	f.consul.tongue.Store(t)
	f.dns = n.newDNS()
	f.askers.reload(n.cfg.DNS)
	f.made.Store(true)
	return part{}, nil
}

func (n *Node) consulBackend() consul.Backend {
	d := n.store.decided
	b := consul.Backend{
		Self: n.cfg.Self, Cluster: n.served.cluster, Servers: n.served.servers, Settled: n.served.settled, Ready: n.served.ready,
		Catalog: n.catalog(), Discovery: n.discovery(), Subscriber: n.hub, Streams: &consul.Streams{}, Readers: n.drains.readers, Drains: n.drains, Registrar: n.kept.agent, Local: n.kept.agent, Leases: n.kept.leases,
		External: d.External, Keys: d.Keys, Sessions: d.Sessions, Queries: d.Queries, Snapshots: d.Snapshots, Settings: d.Settings,
		Guard: n.served.guard, Events: d.Events, Coords: d.Coordinates, Process: process{n}, Gatherer: n.shown, Roots: newAuthority(),
		Propagation: n.propagation,
	}
	if n.far != nil {
		b.Datacenters = n.far
	}
	if f := n.attached.forwarder; f != nil {
		b.Forward, b.Attached, b.Written = f, n.attached.attachment.State, n.attached.followed.Written
	}
	if n.creds != nil && n.creds.server != nil {
		b.Admission = admission{n.creds}
	}
	if c := n.control; c != nil {
		b.Gate, b.Tokens = c.gate, ownTokens{c.tokens, n}
		if c.store != nil {
			b.ACL, b.Primary = c.store, n.primary()
		}
		if b.Forward != nil {
			b.Forward = withToken{b.Forward, c.tokens}
		}
		if c.audit != nil {
			b.Audit = c.audit
		}
	}
	return b
}

func (n *Node) newDNS() *dns.Server {
	cfg := n.cfg.DNS
	cfg.Registerer = n.metrics
	if n.attached.forwarder != nil {
		cfg.Elsewhere, cfg.Followed = n.askDNS, n.attached.followed
	}
	return n.dnsAs(cfg, n.control.dnsSecret)
}

// dnsAs answers DNS questions as the holder of secret sees the catalog.
func (n *Node) dnsAs(cfg dns.Config, secret func() string) *dns.Server {
	queries := n.store.decided.Queries
	cfg.Readers = n.drains.readers
	cfg.Net, cfg.Queries, cfg.Settled = n.net, queries, n.served.settled
	cfg.MaxRecursions = n.door.Shares().Recursions
	seen := n.control.seen(n.catalog(), secret)
	if n.far != nil {
		cfg.Datacenters = farDNS{n.far, secret}
	}
	if n.control != nil {
		cfg.Queries = n.control.knownQueries(queries.In(seen), secret)
	}
	return dns.New(n.cfg.Self, seen, cfg)
}

// startDoor passes the requests of clients to the front-ends.
func startDoor(n *Node) (part, error) {
	f := &n.fronts
	n.door.SetHosts(n.hosts(&n.cfg))
	front := door.Front{
		HTTP:    door.NewPages(&f.consul, n.shown, n.cfg.Profiles),
		Changes: f.consul.changes, DNS: f.dns.Serve, Audit: f.backend.Audit, Net: n.net,
	}
	return part{run: []func(context.Context) error{
		func(ctx context.Context) error { return n.door.Run(ctx, front) },
		loop(func(ctx context.Context) {
			<-ctx.Done()
			f.lot.Close()
		}),
	}}, nil
}

// address returns the address of this process as a server.
func (n *Node) address() string {
	return net.JoinHostPort(n.cfg.Record.Address, strconv.Itoa(n.cfg.Record.ServerPort))
}

// hosts returns the host names that a browser may use.
func (n *Node) hosts(cfg *Config) door.Hosts {
	return door.Hosts{Node: n.cfg.Self.Name, Zones: []string{cfg.DNS.Domain, cfg.DNS.AltDomain}, Allowed: cfg.AllowedHosts}
}
