package node

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/registry"
)

// servers is the servers of this datacenter as this one sees them. Their agents registered
// the service of servers; the registry knows which are up, and the quorum store which
// vote.
type servers struct{ n *Node }

// serversService is the name of the service that the servers' agents register.
const serversService = "consul"

// Members implements [skerry.Members].
func (s servers) Members() []skerry.Member {
	heard := map[string]registry.Peer{s.n.cfg.Self.Name: {Up: true, Since: s.n.among.began, Store: s.n.mark()}}
	peers, _ := s.n.registry.Peers()
	for _, p := range peers {
		heard[string(p.ID)] = p
	}
	voters := s.voters()
	var out []skerry.Member
	add := func(m skerry.Member) {
		if !slices.ContainsFunc(out, func(o skerry.Member) bool { return o.Name == m.Name }) {
			v, is := voters[m.Name]
			p := heard[m.Name]
			m.Server, m.Alive, m.Heard, m.Since, m.Voter = true, p.Up, p.Heard, p.Since, is && !v.Learner
			m.Term, m.Index = p.Store.Term, p.Store.Index
			out = append(out, m)
		}
	}
	for _, e := range s.n.table.Service(serversService).Entries {
		if string(e.Owner) != ownerOf(e.Node.Name) {
			continue // a program registered a service of this name
		}
		add(skerry.Member{
			Self:    skerry.Self{Name: e.Node.Name, ID: e.Node.ID, Datacenter: e.Node.Datacenter},
			Address: net.JoinHostPort(e.Node.Address, strconv.Itoa(e.Instance.Port)),
		})
	}
	add(skerry.Member{Self: s.n.cfg.Self, Address: s.n.address()})
	s.n.among.shown.note(out)
	for name, v := range voters {
		add(s.n.among.shown.last(name, func() skerry.Member { return s.unseen(v) }))
	}
	slices.SortFunc(out, func(a, b skerry.Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// otherServers are the servers of this datacenter but for this one.
func (n *Node) otherServers() []skerry.Member {
	return slices.DeleteFunc(slices.Clone(n.served.cluster.Members()), func(m skerry.Member) bool { return m.Name == n.cfg.Self.Name })
}

// unseen describes a server that has a member of the quorum store, and whose agent's
// registration never came: it was down all the time. All servers are taken to have the same
// ServerPort.
func (s servers) unseen(m quorum.Member) skerry.Member {
	host := ""
	if len(m.PeerURLs) > 0 {
		if u, err := url.Parse(m.PeerURLs[0]); err == nil {
			host = u.Hostname()
		}
	}
	return skerry.Member{
		Self:    skerry.Self{Name: m.Name, Datacenter: s.n.cfg.Self.Datacenter},
		Address: net.JoinHostPort(host, strconv.Itoa(s.n.cfg.Record.ServerPort)),
	}
}

// shown remembers the servers that were in the catalog: the services of a server that is down
// leave it, and its member of the quorum store stays.
type shown struct {
	mu      sync.Mutex
	servers map[string]skerry.Member
}

func (s *shown) note(all []skerry.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers == nil {
		s.servers = map[string]skerry.Member{}
	}
	for _, m := range all {
		s.servers[m.Name] = m
	}
}

// last returns a server as it was shown last, or what never returns.
func (s *shown) last(name string, never func() skerry.Member) skerry.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.servers[name]; ok {
		return m
	}
	return never()
}

// voters returns the members of the quorum store by the names of their servers. A member that
// has not told its name yet is left out.
func (s servers) voters() map[string]quorum.Member {
	out := map[string]quorum.Member{}
	if ms, err := s.n.store.kv.Members(); err == nil {
		for _, m := range ms.List() {
			if m.Name != "" {
				out[m.Name] = m
			}
		}
	}
	return out
}

// Leader implements [skerry.Leader].
func (s servers) Leader() (skerry.Member, bool) {
	leads := s.leads()
	for _, m := range s.Members() {
		if leads != nil && leads(&m.Self) {
			return m, true
		}
	}
	return skerry.Member{}, false
}

// outside reports whether the quorum store is an etcd cluster of others.
func (s servers) outside() bool { return len(s.n.cfg.Quorum.Endpoints) > 0 }

// leads returns what tells the server whose member leads the quorum store, or the one that decides
// where the store is an etcd cluster of others; nil if there is none.
func (s servers) leads() func(*skerry.Self) bool {
	if !s.outside() {
		ms, err := s.n.store.kv.Members()
		if err != nil {
			return nil
		}
		leader, ok := ms.Leader()
		if !ok {
			return nil
		}
		return func(is *skerry.Self) bool { return is.Name == leader.Name }
	}
	id := s.n.store.decided.Leader()
	if _, known := s.n.store.kv.LastContact(); !known || id == "" {
		return nil
	}
	return func(is *skerry.Self) bool { return is.ID == id }
}

// LastContact implements [skerry.Contact].
func (s servers) LastContact() (time.Duration, bool) {
	silent, known := s.n.store.kv.LastContact()
	if open, _ := s.n.store.kv.Ready(); !open {
		silent = time.Since(s.n.among.began)
	}
	return silent, known && (!s.outside() || s.n.store.decided.Leader() != "")
}

// CatalogAge implements [skerry.Contact].
func (s servers) CatalogAge() time.Duration { return s.n.registry.Age() }

// caughtUpWithin bounds the wait for a majority, as that of the quorum store is.
const caughtUpWithin = 7 * time.Second

// CatchUp implements [skerry.CatchUp]. The external services are in the quorum store.
func (s servers) CatchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, caughtUpWithin)
	defer cancel()
	if err := s.n.store.kv.Sync(ctx); err != nil {
		return err
	}
	return s.n.registry.CatchUp(ctx)
}

// RemoveServer implements [skerry.Servers].
func (s servers) RemoveServer(ctx context.Context, name string) error {
	members := s.Members()
	at := slices.IndexFunc(members, func(m skerry.Member) bool { return m.Name == name })
	if at < 0 {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "server", ID: name, Message: fmt.Sprintf("no server has the name %q", name)}
	}
	if err := s.n.dropMember(ctx, name); err != nil {
		return err
	}
	s.n.log.Warn("a server was removed from the quorum store", "server", name)
	if members[at].Alive {
		return nil
	}
	s.n.withdraw(name)
	return nil
}

// dropMember takes the member of a server out of the quorum store, if it has one.
func (n *Node) dropMember(ctx context.Context, server string) error {
	ms, err := n.store.kv.Members()
	if err != nil || !slices.ContainsFunc(ms.List(), func(m quorum.Member) bool { return m.Name == server }) {
		return err
	}
	return ms.Remove(ctx, server)
}

// leaveWithin bounds the leaving of this server, which ends whatever the others answer.
const leaveWithin = 10 * time.Second

// leaveServers takes this server out of the quorum store, unless it is the last, and its
// services out of the catalog.
func (n *Node) leaveServers() {
	n.among.leaving.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	ms, err := n.store.kv.Members()
	if err == nil && len(ms.List()) > 1 {
		err = ms.Remove(ctx, n.cfg.Self.Name)
	}
	if err != nil {
		n.log.Warn("this server leaves without a word to the quorum store: remove it there with force-leave", "error", err)
	}
	n.withdraw(n.cfg.Self.Name)
}

// withdraw takes the services of a server's agent out of the catalog.
func (n *Node) withdraw(server string) {
	id := skerry.OwnerID(ownerOf(server))
	if v, _, ok := n.registry.Known(id); ok {
		n.registry.Withdraw(id, skerry.Version{Epoch: v.Epoch, Seq: v.Seq + 1})
	}
}

// ownerOf returns the owner of a node's agent.
func ownerOf(node string) string { return "agent/" + node }
