package node

import (
	"cmp"
	"context"
	"hash/fnv"
	"path/filepath"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/follow"
	"github.com/skerryhq/skerry/follow/cache"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/link"
)

// followStream carries the views that an agent follows.
var followStream = link.Kind{Name: "follow"}

// farFollowStream is followStream for servers of other datacenters.
var farFollowStream = link.Kind{Name: "wan-follow", Far: true}

// newFollowed makes the cache of the views that this agent follows.
func (n *Node) newFollowed() error {
	dir := ""
	if n.cfg.DataDir != "" {
		dir = filepath.Join(n.cfg.DataDir, "follow")
		if err := files.MakeFolder(dir, 0o700); err != nil {
			return err
		}
	}
	a := &n.attached
	a.followed = cache.New(cache.Config{
		Own: n.table, Owner: skerry.OwnerID(ownerOf(n.cfg.Self.Name)), Pick: a.attachment.Pick, Dir: dir, Registerer: n.metrics, Log: n.log,
		Token: n.agentToken, Count: n.countReaders,
		Dial: func(ctx context.Context, address string) (cache.Stream, error) {
			s, err := a.dialer.Dial(ctx, address, followStream)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	})
	return nil
}

// startHub lets readers follow services here: agents over streams, and programs over HTTP.
func startHub(n *Node) (part, error) {
	cfg := hub.Config{Discovery: n.discovery(), Ring: n.ring, Settled: n.served.settled, Admit: n.admitFollower, Registerer: n.metrics, Log: n.log}
	if n.attached.followed == nil {
		cfg.State = n.followState
	}
	n.hub = hub.NewServer(cfg)
	return part{run: loops(n.hub.Run, every(sharesEvery, n.shares.sweep))}, nil
}

// ring is where the positions of the readers of a service here begin: each server's somewhere else, and an agent's where it
// stands itself.
func (n *Node) ring(service string) skerry.Position {
	if c := n.attached.followed; c != nil {
		return c.Position(service)
	}
	h := fnv.New32a()
	h.Write([]byte(n.cfg.Self.Name))
	return max(skerry.Position(h.Sum32()), 1)
}

// discovery answers where services are: at an agent from followed views.
func (n *Node) discovery() skerry.Discovery {
	if c := n.attached.followed; c != nil {
		return c
	}
	return skerry.Discover(n.table)
}

// catalog is the catalog as front-ends read it.
func (n *Node) catalog() skerry.Catalog {
	if c := n.attached.followed; c != nil {
		return c.Catalog()
	}
	return n.table
}

// returnsWithin is the time after the start of a server in which agents may still be on their way to it: the longest
// pause between their tries, and some time to announce.
const returnsWithin = 15 * time.Second

// followState is how much followers can rely on the views of this process.
func (n *Node) followState() follow.State {
	return follow.State{Recovering: time.Since(n.began) < returnsWithin, Stale: n.served.cluster.CatalogAge().Milliseconds()}
}

// countReaders begins to count the readers of a followed service here.
func (n *Node) countReaders(service string, index uint64) cache.Count {
	return n.drains.readers.Begin(service, index).Now
}

// agentToken returns the token by which servers judge this agent.
func (n *Node) agentToken() string {
	if n.control == nil {
		return ""
	}
	return cmp.Or(n.control.tokens.Secret(access.AgentToken), n.control.tokens.Secret(access.DefaultToken))
}

// admitFollower returns why the agent with a token may not follow services. It is sent whole views, and filters them by the
// tokens of its callers, so its own token has to read all services, as that of a node identity does.
func (n *Node) admitFollower(token string) error {
	if n.control == nil {
		return nil
	}
	who, err := n.control.gate.Identify(cmp.Or(token, skerry.AnonymousSecret))
	if err == nil && !who.AllowsBelow(skerry.ResourceService, "", skerry.AccessRead) {
		err = skerry.DeniedTo(who, skerry.ResourceService, "", skerry.AccessRead)
	}
	return err
}

// serveFollower serves an agent that follows services.
func (n *Node) serveFollower(ctx context.Context, s *link.Stream) {
	if s.Datacenter != "" {
		s.Node += "." + s.Datacenter // another node may have its name here
	}
	paced, left := n.shares.enter(ctx, s)
	defer left()
	if err := n.hub.Serve(ctx, s.Node, paced); err != nil && ctx.Err() == nil {
		n.log.Debug("a stream of followed services ended", "node", s.Node, "error", err)
	}
}
