package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/link"
)

// listenLink opens this server's port for introductions and agents.
func (n *Node) listenLink() (*link.Listener, error) {
	c, self := n.cfg.Cluster, n.cfg.Self
	l, err := link.Listen(net.JoinHostPort(c.Bind, strconv.Itoa(c.ServerPort)), link.Config{
		Self: link.Introduction{
			Name: self.Name, ID: self.ID, Datacenter: self.Datacenter, Bus: c.BusPort, Quorum: c.QuorumPort, Access: n.accessControl(),
		},
		Streams: map[link.Kind]func(context.Context, *link.Stream){ownerStream: n.serveOwner, followStream: n.serveFollower, farFollowStream: n.serveFollower},
		Refuse:  n.refuseAgent, Requests: n.door.Budget(http.HandlerFunc(n.passedOn)), MaxConns: n.door.Shares().Agents, TLS: n.creds.listen(), Log: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("ports.server: %w", err)
	}
	n.listener = l
	return l, nil
}

// startLink lets agents attach to a server that is alone.
func startLink(n *Node) (part, error) {
	if n.cfg.Cluster.ServerPort == 0 {
		return part{}, nil
	}
	l, err := n.listenLink()
	switch {
	case err != nil && n.cfg.Cluster.GoOn:
		n.log.Warn("this server takes no agents: set ports.server to a port that is free, or to -1", "error", err)
		return part{}, nil
	case err != nil:
		return part{}, err
	}
	stop := func() error {
		l.Close()
		return nil
	}
	return part{run: append(loops(every(votingEvery, n.noteAgents)), l.Run), stop: stop}, nil
}

// ownerStream carries an agent's announcements and beats.
var ownerStream = link.Kind{Name: "owner"}

// serveOwner takes what the agent of a node says over a stream.
func (n *Node) serveOwner(ctx context.Context, s *link.Stream) {
	n.log.Info("an agent opened a stream", "node", s.Node)
	defer n.tellAccess(ctx, s)()
	defer n.creds.tellAuthorities(s)()
	speaker := n.registry.Speaker(skerry.OwnerID(ownerOf(s.Node)), s.Node)
	in, left := n.shares.enter(ctx, s)
	defer left()
	for {
		frame, err := in.Receive()
		if err != nil {
			return
		}
		answer, err := speaker.Hear(frame)
		if err != nil {
			n.log.Warn("an agent's stream is closed: a message is not understood", "node", s.Node, "error", err)
			return
		}
		if answer == nil {
			continue
		}
		if s.Send(answer) != nil {
			return
		}
	}
}

// refuseAgent returns why the agent of a node may not attach.
func (n *Node) refuseAgent(node string) error {
	if node == n.cfg.Self.Name {
		return errors.New("this server has that node name: names are unique in a datacenter")
	}
	if n.control != nil {
		return n.control.store.Ready()
	}
	return nil
}
