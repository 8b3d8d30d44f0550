package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/attach"
	"github.com/skerryhq/skerry/follow/cache"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/link"
)

// attached is an agent's side of the connection with servers.
type attached struct {
	dialer     *link.Dialer
	attachment *attach.Attachment // nil: this process joins no server
	forwarder  *forward.Forwarder
	followed   *cache.Cache
}

// startAttachment lets the agent's owner attach to one of the servers of retry_join, if there are any.
func startAttachment(n *Node) (part, error) {
	c, a := n.cfg.Cluster, &n.attached
	if len(c.Join) == 0 {
		return part{}, nil
	}
	a.dialer = n.newDialer()
	a.attachment = attach.New(attach.Config{
		Join: c.Join, RetryEvery: c.RetryEvery, Registerer: n.metrics, Log: n.log,
		Ask: n.askServer, Grants: n.grants, Moved: n.accessMoved, Authorities: n.creds.told, Announced: n.timeAnnounced(),
		Dial: func(ctx context.Context, address string) (attach.Stream, error) {
			s, err := a.dialer.Dial(ctx, address, ownerStream)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	})
	a.forwarder = forward.New(forward.Config{Node: n.cfg.Self.Name, Pick: a.attachment.Pick, Transport: a.dialer.RoundTripper(), Registerer: n.metrics, Log: n.log})
	if err := n.newFollowed(); err != nil {
		return part{}, fmt.Errorf("data_dir: %w", err)
	}
	n.served.carrier = carriers{n.served.carrier, a.followed, a.attachment}
	n.served.cluster, n.served.ready = joined{n.served.cluster, n}, n.attachedReady
	stop := func() error {
		a.dialer.Close()
		return nil
	}
	return part{run: loops(a.attachment.Run, a.followed.Run), stop: stop}, nil
}

// askServer returns the name of the server at an address.
func (n *Node) askServer(ctx context.Context, address string) (string, error) {
	i, err := n.attached.dialer.Ask(ctx, address)
	if err == nil && i.Datacenter != n.cfg.Self.Datacenter {
		err = skerry.Errorf(skerry.Invalid, "it is of the datacenter %q: an agent joins the servers of its own", i.Datacenter)
	}
	if err == nil && i.Name == n.cfg.Self.Name {
		err = skerry.Errorf(skerry.Invalid, "it has this agent's node name, %q: names are unique in a datacenter", i.Name)
	}
	if err == nil {
		err = n.agrees(i.Access)
	}
	return i.Name, err
}

// attachedReady returns an error while no server has this agent's registrations.
func (n *Node) attachedReady() error {
	s := n.attached.attachment.State()
	since := s.Since.UTC().Format(time.RFC3339)
	switch {
	case s.Server == "" && s.Barred != "":
		return fmt.Errorf("this agent may not attach: %s", s.Barred)
	case s.Server == "":
		return fmt.Errorf("this agent is alone since %s, attached to no server: no server has its registrations", since)
	case !s.Settled:
		return fmt.Errorf("this agent is attached to the server %s since %s, which has not all of its registrations yet", s.Server, since)
	}
	return nil
}

// detachWithin bounds the withdrawal of an agent that leaves. Its servers lose it a few seconds later
// anyway.
const detachWithin = 2 * time.Second

// detach takes this agent's services out of the catalog of the servers.
func (n *Node) detach() {
	ctx, cancel := context.WithTimeout(context.Background(), detachWithin)
	defer cancel()
	if err := n.attached.attachment.Withdraw(ctx); err != nil {
		n.log.Warn("this agent leaves without a word to a server: its services are shown until its TTL ends", "error", err)
	}
}

// joined is the servers as an agent of theirs knows them.
type joined struct {
	skerry.Cluster // of this process alone
	n              *Node
}

// Members implements [skerry.Members].
func (j joined) Members() []skerry.Member {
	out := j.Cluster.Members()
	for _, s := range j.n.attached.attachment.Servers() {
		self := skerry.Self{Name: s.Name, Datacenter: j.n.cfg.Self.Datacenter, Server: true}
		out = append(out, skerry.Member{Self: self, Address: s.Address, Alive: s.Alive})
	}
	slices.SortFunc(out, func(a, b skerry.Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Leader implements [skerry.Leader]: a request about the leader is passed on.
func (j joined) Leader() (skerry.Member, bool) { return skerry.Member{}, false }

// LastContact implements [skerry.Contact].
func (j joined) LastContact() (ago time.Duration, known bool) {
	s := j.n.attached.attachment.State()
	if s.Server == "" {
		return time.Since(s.Since), false
	}
	return 0, true
}

// CatalogAge implements [skerry.Contact].
func (j joined) CatalogAge() time.Duration { return j.n.attached.followed.Stale() }

// carriers carry to several: this process's own catalog first, so that the others find the change there.
type carriers []skerry.Carrier

// Carry implements [skerry.Carrier].
func (c carriers) Carry(id skerry.OwnerID, kind skerry.OwnerKind, ttl time.Duration, from skerry.Source) skerry.Outbox {
	out := make(outboxes, len(c))
	for i, to := range c {
		out[i] = to.Carry(id, kind, ttl, from)
	}
	return out
}

type outboxes []skerry.Outbox

// Changed implements [skerry.Outbox].
func (o outboxes) Changed(v, base skerry.Version, d skerry.Delta, digest uint64) {
	for _, to := range o {
		to.Changed(v, base, d, digest)
	}
}

// askDNS has a server answer a DNS question.
func (n *Node) askDNS(ctx context.Context, query []byte) ([]byte, error) {
	return n.attached.forwarder.Ask(ctx, dnsPath, n.control.dnsSecret(), query)
}
