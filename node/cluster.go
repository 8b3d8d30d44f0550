package node

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/form"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/registry"
)

// Cluster configures what a process has to do with others.
type Cluster struct {
	Bind string   // the IP address that is listened on for servers and agents
	Join []string // host:port of other servers' ServerPort
	// JoinWAN are those of servers in other datacenters, and RetryWANEvery is RetryEvery for them.
	JoinWAN       []string
	RetryWANEvery time.Duration
	// Expect is the number of servers that form the cluster; 0: it exists, and is joined.
	Expect int
	// NoVote makes it a read server: it has the whole catalog and store, and never a vote.
	NoVote bool
	// The ports of introductions and agents, of the quorum store's member and of the bus. A
	// server that is alone takes no agents if ServerPort is 0.
	ServerPort, QuorumPort, BusPort int
	// GoOn lets a server that is alone start although ServerPort is taken: it takes no agents then.
	GoOn bool
	// RetryEvery is the time between two tries to join after the first minute, at least 1 s.
	RetryEvery time.Duration
	// TokenFile has the join token by which this process gets its first certificate. It need not be there later. Empty: the
	// connections with other processes are plain.
	TokenFile string
	// Own names the certificate of this process, of an authority of the operator's. The zero value: there is none.
	Own OwnCertificate
	// Mixed: plain connections are taken and made too, beside those with certificates, while the cluster is moved to these.
	Mixed bool
	// CertificateFor is how long the certificates that this server signs are valid; default 72 h.
	CertificateFor time.Duration
	// BusURL is that of an outside NATS in place of the bus in the servers.
	BusURL, BusUser, BusPassword, BusCredsFile string
}

// among is the parts of a server among several; all are nil on others.
type among struct {
	bus      *bus.Bus
	dialer   *link.Dialer
	former   *form.Former
	places   *places
	lead     *lead
	leaving  atomic.Bool // this server's member does not join again
	voting   voting      // as the registry knows it; of noteVoting
	shown    shown
	together time.Time // as it is on disk; of noteTogether
	began    time.Time
	away     bool // since so long that leases of before are not restored
}

// startSharedCatalog makes the table, and the registry that writes it.
func startSharedCatalog(n *Node) (part, error) {
	n.table = catalog.New(n.tableConfig())
	last, err := n.lastVoting()
	if err != nil {
		return part{}, err
	}
	n.among.began = time.Now()
	if n.among.away, err = n.wasAway(last.Of); err != nil {
		return part{}, err
	}
	cfg, err := n.registryConfig()
	if err != nil {
		return part{}, err
	}
	cfg.Members, cfg.Of = last.Voters, last.Of
	cfg.Timing.Recover = max(cfg.Timing.Recover, leastRecover)
	cfg.Store, cfg.Form = n.mark, n.form
	n.registry = registry.New(cfg)
	n.kept.index.start(n.kept.ledger, n.table)
	r := n.registry
	n.served = served{announcer: r, carrier: r, guard: guard{r}, cluster: servers{n}, servers: servers{n}, settled: r.Settled(), ready: r.Ready}
	return part{run: loops(r.Run, every(tickEvery, n.tick))}, nil
}

// mark returns how far this server's member of the quorum store has come.
func (n *Node) mark() (m cluster.Mark) {
	if ms, err := n.store.kv.Members(); err == nil {
		m.Term, m.Index = ms.Mark()
	}
	return m
}

// leastRecover is the shortest time after a start in which no owner is judged.
const leastRecover = 5 * time.Second

// form passes messages about the quorum store's members on. None comes before startBus.
func (n *Node) form(from cluster.ServerID, m cluster.Message) {
	switch m := m.(type) {
	case cluster.Join:
		n.among.places.asked(from, m)
	case cluster.Joined:
		n.among.places.answered(m)
	case cluster.HandOver:
		n.among.lead.asked(from, m)
	case cluster.HandedOver:
		n.among.lead.answered(m)
	default:
		n.among.former.Receive(from, m)
	}
}

// startBus connects this server with the others.
func startBus(n *Node) (part, error) {
	c, a := n.cfg.Cluster, &n.among
	alone, err := quorum.WasAlone(n.memberFolder())
	if err != nil {
		return part{}, err
	}
	n.warnOfExpect()
	n.wasSecured()
	expect := c.Expect
	if c.NoVote {
		expect = cluster.NoVote
	}
	a.former, err = form.New(form.Config{
		Self: cluster.ServerID(n.cfg.Self.Name), URL: n.peerURL(), Expect: expect, Alone: alone, Path: n.serverFile("forming.json"),
		Send: n.registry.Send, Log: n.log,
		Known: func(first cluster.Proposal) { n.registry.SetCluster(roundName(first.Round)) },
	})
	if err != nil {
		return part{}, err
	}
	a.places, a.lead = newPlaces(n), newLead(n)
	listener, err := n.listenLink()
	if err != nil {
		return part{}, err
	}
	a.dialer = n.newDialer()
	a.bus, err = bus.Start(bus.Config{
		Self: n.cfg.Self.Name, Datacenter: n.cfg.Self.Datacenter,
		Listen: net.JoinHostPort(c.Bind, strconv.Itoa(c.BusPort)), Advertise: net.JoinHostPort(n.cfg.Record.Address, strconv.Itoa(c.BusPort)),
		URL: c.BusURL, User: c.BusUser, Password: c.BusPassword, CredsFile: c.BusCredsFile, TLS: n.creds.among(c.BusURL == ""), Mixed: n.creds.moves() && c.BusURL == "",
		Registerer: n.metrics, Log: n.log, Net: n.net,
	}, n.registry.Receive)
	if err != nil {
		listener.Close()
		return part{}, fmt.Errorf("ports.bus: %w", err)
	}
	n.registry.Connect(a.bus)
	run := append(loops(every(form.TickEvery, a.former.Tick), every(votingEvery, n.noteVoting), every(votingEvery, n.noteTogether), every(votingEvery, n.noteAgents), a.places.run, a.lead.run), listener.Run)
	for _, address := range c.Join {
		run = append(run, loop(func(ctx context.Context) { n.join(ctx, address) }))
	}
	return part{run: run, stop: a.bus.Close}, nil
}

// warnOfExpect warns of a number of first members that cannot be safe.
func (n *Node) warnOfExpect() {
	expect, joins := n.cfg.Cluster.Expect, len(n.cfg.Cluster.Join)
	switch {
	case expect == 2:
		n.log.Warn("bootstrap_expect = 2: when one of two servers is gone, the other has no majority: it answers, takes nothing out, and writes no keys; use three")
	case expect > 0 && 2*expect <= joins:
		n.log.Warn("bootstrap_expect is at most half of the servers in retry_join: two groups of them that never met would form two clusters", "bootstrap_expect", expect, "retry_join", joins)
	}
}

// roundName names a cluster by the round of its forming.
func roundName(r cluster.Round) string { return fmt.Sprintf("%s-%d", r.Proposer, r.N) }

// serverFile returns the path of a file of this server as one among several.
func (n *Node) serverFile(name string) string { return filepath.Join(n.cfg.DataDir, "server", name) }

// memberFolder returns the folder of this server's member of the quorum store.
func (n *Node) memberFolder() string { return filepath.Join(n.cfg.DataDir, "quorum") }

// peerURL returns where others reach this server's member of the quorum store.
func (n *Node) peerURL() string {
	u := url.URL{Scheme: n.scheme(), Host: net.JoinHostPort(n.cfg.Record.Address, strconv.Itoa(n.cfg.Cluster.QuorumPort))}
	return u.String()
}

const (
	// firstJoins is the time between tries to join for joinSoon after the start.
	firstJoins = time.Second
	joinSoon   = time.Minute
)

// join learns the bus of the server at an address, again and again: it may start later,
// or on another port. It tries often at first.
func (n *Node) join(ctx context.Context, address string) {
	began, told := time.Now(), ""
	for {
		pause := firstJoins
		i, err := n.among.dialer.Ask(ctx, address)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && i.Datacenter != n.cfg.Self.Datacenter:
			err = fmt.Errorf("it is of the datacenter %q: name it in retry_join_wan", i.Datacenter)
		case err == nil && i.Name == n.cfg.Self.Name && i.ID != n.cfg.Self.ID:
			err = fmt.Errorf("it has this server's node name, %q: names are unique in a datacenter", i.Name)
		case err == nil && i.Name != n.cfg.Self.Name && n.cfg.Cluster.BusURL == "":
			if host, _, err := net.SplitHostPort(address); err == nil {
				n.among.bus.AddPeers(net.JoinHostPort(host, strconv.Itoa(i.Bus)))
			}
		}
		if err == nil || time.Since(began) > joinSoon {
			pause = max(n.cfg.Cluster.RetryEvery, firstJoins)
		}
		if text := fmt.Sprint(err); text != told {
			told = text
			if err != nil {
				n.log.Warn("a server of retry_join cannot be joined yet", "address", address, "error", err)
			} else {
				n.log.Info("a server of retry_join is there", "address", address, "server", i.Name)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// startSharedMember begins to open this server's member of the cluster's store, once the
// cluster's first members are known.
func startSharedMember(n *Node) (part, error) {
	dir := n.memberFolder()
	return n.startStore(func(ctx context.Context) (*quorum.Store, error) {
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return nil, err
		}
		return n.openMember(ctx, dir)
	}, nil)
}
