package node

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/quorum"
)

// moving is the move of a cluster from plain connections to TLS, in a process that takes and makes both. Servers first reach each other's
// members of the quorum store without TLS, and with it once all of them take it.
type moving struct {
	dialers []*link.Dialer
	secured atomic.Bool // the others reach this server's member with TLS
	plain   atomic.Pointer[[]string]
}

const (
	// moveEvery is the time between two looks at how far the move is.
	moveEvery = 2 * time.Second
	// maxPlainShown bounds the names in a line of the log.
	maxPlainShown = 20
)

// moves reports whether this process takes and makes plain connections beside those with TLS.
func (c *credentials) moves() bool { return c != nil && c.n.cfg.Cluster.Mixed }

// dialer returns a dialer to processes of this datacenter.
func (n *Node) newDialer() *link.Dialer {
	c := n.creds
	return c.mixes(link.NewDialer(n.cfg.Self.Name, c.dial()), c.dial)
}

// newFarDialer returns a dialer to servers of other datacenters.
func (n *Node) newFarDialer() *link.Dialer {
	c := n.creds
	return c.mixes(link.NewFarDialer(n.cfg.Self.Name, n.cfg.Self.Datacenter, c.dialFar()), c.dialFar)
}

// mixes lets a dialer make plain connections too, in a process that moves.
func (c *credentials) mixes(d *link.Dialer, secure func() *tls.Config) *link.Dialer {
	if !c.moves() {
		return d
	}
	d.Mixed(func() *tls.Config {
		if c.held.Held() == nil {
			return nil
		}
		return secure()
	})
	c.moving.dialers = append(c.moving.dialers, d)
	return d
}

// joined ends the plain connections from before this process had a certificate.
func (m *moving) joined() {
	for _, d := range m.dialers {
		d.ClosePlain()
	}
}

// startMove follows the move of this datacenter on a server.
func startMove(n *Node) (part, error) {
	c := n.creds
	if !c.moves() {
		return part{}, nil
	}
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "skerry_move_plain_nodes", Help: "Nodes without TLS, as a server sees it that takes both. At 0 all can be restarted without insecure_cluster.",
	}, func() float64 { return float64(len(c.plain())) }))
	n.log.Warn("this process takes plain connections too, while the cluster is moved to TLS: see `skerry ca status`, and take insecure_cluster out when no node is plain")
	return part{run: loops(c.move)}, nil
}

// move looks again and again how far the move is, until ctx ends.
func (c *credentials) move(ctx context.Context) {
	only := link.NewDialer(c.n.cfg.Self.Name, c.dial())
	defer only.Close()
	last := []string{""} // no node has that name
	for {
		if c.n.cfg.Role == PeerRole && !c.moving.secured.Load() && c.allTakeTLS(ctx, only) {
			c.moving.secured.Store(true)
		}
		now := c.lookPlain()
		c.moving.plain.Store(&now)
		if !slices.Equal(now, last) {
			last = now
			c.n.log.Info("the cluster is moved to TLS: these nodes are without it", "count", len(now), "nodes", now[:min(len(now), maxPlainShown)])
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(moveEvery):
		}
	}
}

// plain returns the nodes without TLS, as of the last look.
func (c *credentials) plain() []string {
	if p := c.moving.plain.Load(); p != nil {
		return *p
	}
	return nil
}

// allTakeTLS reports whether each other server with a member of the quorum store answers with TLS.
func (c *credentials) allTakeTLS(ctx context.Context, only *link.Dialer) bool {
	ms, err := c.n.store.kv.Members()
	if err != nil {
		return false
	}
	at := map[string]string{}
	for _, m := range c.n.otherServers() {
		at[m.Name] = m.Address
	}
	for _, m := range ms.List() {
		if m.Self {
			continue
		}
		if i, err := only.Ask(ctx, at[m.Name]); err != nil || i.Name != m.Name {
			return false
		}
	}
	return true
}

// lookPlain returns the nodes that are there and without TLS: those without a certificate of a join token, those that have a plain stream to this
// server, and servers whose members of the quorum store are reached without it.
func (c *credentials) lookPlain() []string {
	out := map[string]bool{}
	for _, node := range c.withoutKey() {
		out[node] = true
	}
	if l := c.n.listener; l != nil {
		for _, node := range l.Plain() {
			out[node] = true
		}
	}
	if ms, err := c.n.store.kv.Members(); err == nil && c.n.cfg.Role == PeerRole {
		for _, m := range ms.List() {
			if m.Name != "" && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return !strings.HasPrefix(u, "https:") }) {
				out[m.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// withoutKey returns the nodes with an agent that has not joined with a token.
func (c *credentials) withoutKey() (out []string) {
	kept, err := c.stored()
	if err != nil {
		return nil
	}
	nodes, err := kept.Nodes()
	if err != nil {
		return nil // the tokens cannot be read, which their commands show
	}
	joined := map[string]bool{}
	for _, n := range nodes {
		joined[n.Node] = true
	}
	for _, v := range c.n.table.Nodes() {
		if _, _, agent := c.n.registry.Known(skerry.OwnerID(ownerOf(v.Node.Name))); agent && !joined[v.Node.Name] {
			out = append(out, v.Node.Name)
		}
	}
	return out
}

// scheme returns how others reach this server's member of the quorum store.
func (n *Node) scheme() string {
	if n.creds == nil || n.creds.moves() && !n.creds.moving.secured.Load() {
		return "http"
	}
	return "https"
}

// wasSecured notes that the others reached this server's member with TLS before its start.
func (n *Node) wasSecured() {
	if !n.creds.moves() {
		return
	}
	if p, err := quorum.PeersOf(n.memberFolder()); err == nil && strings.HasPrefix(p.Advertise, "https:") {
		n.creds.moving.secured.Store(true)
	}
}
