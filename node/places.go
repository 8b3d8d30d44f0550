package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/quorum/autopilot"
)

// places gives servers their places in the quorum store: those that come late join as
// learners, and the leader gives them votes.
type places struct {
	n       *Node
	pilot   *autopilot.Pilot
	votes   func(quorum.Member) bool // of the pilot: a read server takes none
	asking  chan request             // one at a time
	answers chan cluster.Joined      // to this server's own question
}

// request is another server's question for a place.
type request struct {
	from cluster.ServerID
	url  string
}

const (
	// askEvery is the time between two questions for a place.
	askEvery = 2 * time.Second
	// pilotEvery is the time between two looks at the members, on the leader.
	pilotEvery = time.Second
	// changeWithin bounds one change of the members.
	changeWithin = 30 * time.Second
)

func newPlaces(n *Node) *places {
	votes := func(m quorum.Member) bool { return n.among.former.Votes(cluster.ServerID(m.Name)) }
	return &places{
		n: n, votes: votes, pilot: autopilot.New(autopilot.Config{Votes: votes}),
		asking: make(chan request, 1), answers: make(chan cluster.Joined, 1),
	}
}

// asked notes the question of another server. It asks again if this one is busy.
func (p *places) asked(from cluster.ServerID, m cluster.Join) {
	select {
	case p.asking <- request{from, m.URL}:
	default:
	}
}

// answered takes the answer to this server's question.
func (p *places) answered(m cluster.Joined) {
	select {
	case p.answers <- m:
	default:
	}
}

// run answers questions and gives votes, while this server's member leads.
func (p *places) run(ctx context.Context) {
	t := time.NewTicker(pilotEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-p.asking:
			if ms := p.n.leading(); ms != nil {
				p.give(ctx, ms, r)
			}
		case <-t.C:
			p.tellURL(ctx)
			if ms := p.n.leading(); ms != nil {
				p.fly(ctx, ms)
			}
		}
	}
}

// tellURL sets this server's own peer URL in the quorum store, if that has another: the
// server was alone so far, or its address changed.
func (p *places) tellURL(ctx context.Context) {
	ms, err := p.n.store.kv.Members()
	if err != nil {
		return
	}
	list, want := ms.List(), p.n.peerURL()
	own := slices.IndexFunc(list, func(m quorum.Member) bool { return m.Self })
	if own < 0 || slices.Equal(list[own].PeerURLs, []string{want}) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := ms.SetPeerURL(ctx, want); err != nil {
		p.n.log.Warn("the quorum store does not take this server's new address yet", "url", want, "error", err)
		return
	}
	p.n.log.Info("the quorum store knows this server's address", "url", want)
}

// leading returns the members if this server's leads, else nil.
func (n *Node) leading() *quorum.Members {
	ms, err := n.store.kv.Members()
	if err != nil {
		return nil
	}
	if leader, ok := ms.Leader(); !ok || !leader.Self {
		return nil
	}
	return ms
}

// give makes a place for a server that has no member. A member that has its name has lost
// its disk, and goes.
func (p *places) give(ctx context.Context, ms *quorum.Members, r request) {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	list, err := p.place(ctx, ms, r)
	answer := cluster.Joined{Members: quorum.JoinList(list, &quorum.Peers{Name: string(r.from), Advertise: r.url})}
	if err != nil {
		p.n.log.Warn("a server gets no place in the quorum store yet", "server", r.from, "error", err)
		answer = cluster.Joined{Refused: err.Error()}
	}
	p.n.registry.Send([]cluster.Envelope{{To: r.from, Message: answer}})
}

func (p *places) place(ctx context.Context, ms *quorum.Members, r request) ([]quorum.Member, error) {
	for _, m := range ms.List() {
		if m.Name != string(r.from) && !(m.Name != "" && slices.Contains(m.PeerURLs, r.url)) {
			continue
		}
		if m.Connected {
			return nil, skerry.Errorf(skerry.Conflict, "the member %s is running: two servers may have the name or the address of one", m.Name)
		}
		p.n.log.Warn("the member of a server that lost its data leaves the quorum store", "member", m.Name, "id", m.ID)
		if err := ms.Remove(ctx, m.ID); err != nil {
			return nil, err
		}
	}
	return ms.AddLearner(ctx, r.url)
}

// configure gives the pilot the present configuration. The first leader stores that of its
// files.
func (p *places) configure(ctx context.Context) error {
	settings := p.n.store.decided.Settings
	a, err := settings.Autopilot()
	if err == nil && a.Modified == 0 {
		err = settings.Begin(ctx)
	}
	if err == nil {
		p.pilot.Configure(autopilot.Config{Stable: a.ServerStabilizationTime, KeepDead: !a.CleanupDeadServers, Least: int(a.MinQuorum), Votes: p.votes})
	}
	return err
}

// fly makes the change of members that is due.
func (p *places) fly(ctx context.Context, ms *quorum.Members) {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := p.configure(ctx); err != nil {
		p.n.log.Warn("no member of the quorum store is promoted or removed now: the configuration of the autopilot cannot be read or stored", "error", err)
		return
	}
	list := ms.List()
	change := p.pilot.Next(time.Now(), list)
	name := func(id string) string {
		for _, m := range list {
			if m.ID == id {
				return m.Name
			}
		}
		return ""
	}
	var err error
	switch {
	case change.Promote != "":
		if err = ms.Promote(ctx, change.Promote); err == nil {
			p.n.log.Info("a member of the quorum store has a vote now", "member", name(change.Promote))
		}
	case change.Remove != "":
		if err = ms.Remove(ctx, change.Remove); err == nil {
			p.n.log.Warn("a member of the quorum store that was away for long leaves it", "member", name(change.Remove))
		}
	}
	if err != nil && !errors.Is(err, quorum.ErrNotInSync) {
		p.n.log.Warn("the members of the quorum store cannot be changed now", "error", err)
	}
}

// joinsFile has the members among which this server joined the store, by name: it is not a
// founder, or no more. The list is empty after its member was removed.
const joinsFile = "joins.json"

// openMember opens this server's member of the cluster's store, as one of the first members
// or as one that comes late.
func (n *Node) openMember(ctx context.Context, dir string) (*quorum.Store, error) {
	if n.among.leaving.Load() {
		return nil, skerry.Errorf(skerry.Unavailable, "this server leaves the cluster")
	}
	first, founds, err := n.among.former.Wait(ctx)
	if err != nil {
		return nil, err
	}
	peers := &quorum.Peers{
		ID: n.cfg.Self.ID, Name: n.cfg.Self.Name, Listen: net.JoinHostPort(n.cfg.Cluster.Bind, strconv.Itoa(n.cfg.Cluster.QuorumPort)),
		Advertise: n.peerURL(), Round: roundName(first.Round), TLS: n.creds.peers(), Mixed: n.creds.moves(),
	}
	path := n.serverFile(joinsFile)
	joins, members, err := readMembers(path)
	if err != nil {
		return nil, err
	}
	has, err := quorum.HasData(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case founds && !joins:
		members = map[string]string{}
		for id, u := range first.URLs {
			members[string(id)] = u
		}
	case len(members) > 0 && has:
		peers.Join = true
	default: // asked for again at each try: another server may have joined meanwhile
		if members, err = n.among.places.ask(ctx); err == nil {
			err = writeKept(path, members)
		}
		if err != nil {
			return nil, err
		}
		peers.Join = true
	}
	members[n.cfg.Self.Name] = n.peerURL()
	peers.Members = members
	s, err := quorum.Open(ctx, quorum.Embedded{Dir: dir, Quota: n.cfg.Quorum.Quota, Disk: n.store.disk, Others: n.askCopy, Log: n.log, Peers: peers})
	members = nil
	switch {
	case errors.Is(err, quorum.ErrRemoved):
	case errors.Is(err, quorum.ErrDamaged):
		if members, err = n.replaceMember(ctx, err); err != nil {
			return nil, err
		}
	default:
		return s, err
	}
	if err := writeKept(path, members); err != nil {
		return nil, err
	}
	aside, err := quorum.MoveAside(dir)
	if err != nil {
		return nil, err
	}
	n.log.Warn("the data of this server's former member of the quorum store is moved aside, and it joins anew", "folder", aside)
	return n.openMember(ctx, dir)
}

// replaceWithin bounds one wait for a place in the quorum store in exchange for that of a member whose data is damaged.
const replaceWithin = 30 * time.Second

// replaceMember asks the other servers for a new member in place of this server's, whose data is damaged. They need a majority
// without it: the old member may have voted, and what it forgot counts for nothing only once it is removed. Until then its data
// stays where it is, since it may be all that is left.
func (n *Node) replaceMember(ctx context.Context, damaged error) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, replaceWithin)
	defer cancel()
	members, err := n.among.places.ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; this server joins the quorum store anew, with its data set aside, as soon as a majority of the other servers is there", damaged)
	}
	n.log.Error("the data of this server's member of the quorum store is damaged: another member takes its place", "error", damaged)
	return members, nil
}

func readMembers(path string) (there bool, members map[string]string, err error) {
	there, err = readKept(path, &members, "remove it together with the folder quorum: this server joins anew")
	return there, members, err
}

// ask asks the other servers for a place until one gives it, and returns the members.
func (p *places) ask(ctx context.Context) (map[string]string, error) {
	t := time.NewTicker(askEvery)
	defer t.Stop()
	told := ""
	for {
		p.n.registry.Send([]cluster.Envelope{{Message: cluster.Join{URL: p.n.peerURL()}}})
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case answer := <-p.answers:
			if answer.Refused == "" {
				return answer.Members, nil
			}
			if told != answer.Refused {
				told = answer.Refused
				p.n.log.Warn("the cluster has no place for this server in its quorum store yet", "reason", told)
			}
		case <-t.C:
			continue
		}
		select { // the next question comes with the tick
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-t.C:
		}
	}
}
