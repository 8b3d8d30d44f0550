package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tongue/consul"
)

// listenLink opens this server's port for introductions and agents.
func (n *Node) listenLink() (*link.Listener, error) {
	c, self := n.cfg.Cluster, n.cfg.Self
	l, err := link.Listen(net.JoinHostPort(c.Bind, strconv.Itoa(c.ServerPort)), link.Config{
		Self:  link.Introduction{Name: self.Name, ID: self.ID, Datacenter: self.Datacenter, Bus: c.BusPort, Quorum: c.QuorumPort},
		Serve: n.serveOwner, Refuse: n.refuseAgent, Requests: http.HandlerFunc(n.passedOn), Log: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("ports.server: %w", err)
	}
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

// serveOwner takes what the agent of a node says over a stream.
func (n *Node) serveOwner(ctx context.Context, s *link.Stream) {
	n.log.Info("an agent opened a stream", "node", s.Node)
	for {
		frame, err := s.Receive()
		if err != nil {
			return
		}
		answer, err := n.registry.Owner(skerry.OwnerID(ownerOf(s.Node)), frame)
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
	switch {
	case n.cfg.ACL.Enabled:
		return errors.New("this cluster controls access (acl.enabled), which agents cannot show yet: register at a server")
	case node == n.cfg.Self.Name:
		return errors.New("this server has that node name: names are unique in a datacenter")
	}
	return nil
}

// dnsPath is where a server answers the DNS questions of agents.
const dnsPath = "/v1/skerry/link/dns"

// maxQuestion is the size of the largest message of DNS over TCP, in bytes.
const maxQuestion = 64 << 10

// passedOn answers the requests that agents pass on.
func (n *Node) passedOn(w http.ResponseWriter, r *http.Request) {
	if !n.fronts.made.Load() {
		http.Error(w, "this server is starting", http.StatusServiceUnavailable)
		return
	}
	// A browser on this network does not speak HTTP/2 without encryption, and sends no such header: a page cannot
	// make it pose as an agent.
	if r.ProtoMajor < 2 || forward.From(r) == "" {
		http.Error(w, "this port is for servers and agents: use that of the HTTP API", http.StatusForbidden)
		return
	}
	if r.URL.Path == dnsPath {
		query, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		if err == nil {
			query, err = n.fronts.dns.Answer(r.Context(), query)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(query)
		return
	}
	n.fronts.consul.ServeHTTP(w, consul.AskedAt(r, forward.From(r)))
}
