package bus

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// Each server announces itself every hereEvery, and when it has new routes.
const (
	lookEvery   = 200 * time.Millisecond
	hereEvery   = time.Second
	silentAfter = 5 * time.Second // without a frame or a sign of life
	forgetAfter = 24 * time.Hour
	aloneAfter  = 10 * time.Second // without a route; then it is logged
	maxPeers    = 1024             // of which more is kept than a frame needs
)

// sign is what a server announces of itself.
type sign struct {
	Life string // another at each start
	Addr string // where it accepts routes; "" if it does not know, or has no routes
	// Others are the addresses of the other servers that are here, by token, from one that is moved to TLS. NATS tells one side of a route
	// to be made about the other, and that one may not be able to make it.
	Others map[string]string `json:",omitempty"`
}

// Peer is another server that was heard.
type Peer struct {
	Name  string
	Addr  string    // where it accepts routes, as it announced; "" if it did not
	Heard time.Time // the last frame or sign of life
	Here  bool      // it was heard within the last 5 seconds
}

// Status is the state of a Bus, for the operator.
type Status struct {
	Addr      string // where routes are accepted; "" with an outside NATS
	Connected bool   // to NATS. It is always the case with the embedded one
	Routes    int    // to the NATS of other servers; 0 with an outside one
	Peers     []Peer // heard within the last 24 hours, by name
	// Twin is set if another server with this server's name was heard within the last 5
	// seconds: its address, or "unknown".
	Twin string
}

// presence keeps the other servers that were heard.
type presence struct {
	life string

	mu    sync.Mutex
	peers map[string]*known // by token

	twin      sign
	twinHeard time.Time

	announced time.Time
	routes    int       // at the last look
	alone     time.Time // since when there is no route
	told      bool      // it is logged
}

type known struct {
	Peer
	life, was string // the life and the one before; "" if there is none
	torn      bool   // two lives are heard in turn: it was logged
}

func newPresence(life string) *presence {
	return &presence{life: life, peers: map[string]*known{}}
}

// hear notes a frame of a server, and returns its name. It is not ok if no server can have
// that token.
func (p *presence) hear(token string, now time.Time) (name string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.peers[token]; k != nil {
		k.Heard = now
		return k.Name, true
	}
	if name, ok = untoken(token); ok && len(p.peers) < maxPeers {
		p.peers[token] = &known{Peer: Peer{Name: name, Heard: now}}
	}
	return name, ok
}

// meet takes a server's sign of life. The first of a life is answered, so that both know
// each other at once.
func (b *Bus) meet(from string, data []byte) {
	var s sign
	if json.Unmarshal(data, &s) != nil || s.Life == "" {
		b.metrics.dropped(stranger, 1)
		return
	}
	if b.cfg.Mixed {
		b.learnOthers(s.Others)
	}
	name, news := b.presence.meet(from, s)
	switch news {
	case arrival:
		b.log.Info("a server is on the bus", "server", name, "address", s.Addr)
		b.announce()
		if b.embedded != nil && s.Addr != "" {
			if err := b.embedded.learn(from, s.Addr); err != nil {
				b.log.Error("a route of the bus is not made", "server", name, "address", s.Addr, "error", err)
			}
		}
	case twins:
		b.log.Error("two servers have one name: names must be unique in a datacenter", "name", name, "address", s.Addr)
	}
}

// learnOthers makes routes to servers that were never heard here.
func (b *Bus) learnOthers(others map[string]string) {
	for token, addr := range others {
		if _, ok := untoken(token); !ok || token == b.subjects.self || b.embedded == nil || b.presence.knows(token) {
			continue
		}
		if err := b.embedded.learn(token, addr); err != nil {
			b.log.Error("a route of the bus is not made", "address", addr, "error", err)
		}
	}
}

func (p *presence) knows(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peers[token] != nil
}

// here returns the addresses of the servers that were heard of late, by token.
func (p *presence) here(now time.Time) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]string{}
	for token, k := range p.peers {
		if k.Addr != "" && now.Sub(k.Heard) < silentAfter {
			out[token] = k.Addr
		}
	}
	return out
}

// news is the meaning of a sign of life.
type news uint8

const (
	nothing news = iota
	arrival      // of a server, or of its next life
	twins        // a life is back that another one had followed
)

func (p *presence) meet(from string, s sign) (name string, n news) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.peers[from]
	switch {
	case k == nil || k.life == s.Life:
		return "", nothing
	case k.was == s.Life && k.torn:
		return "", nothing
	case k.was == s.Life:
		k.torn = true
		return k.Name, twins
	}
	k.was, k.life, k.Addr, k.torn = k.life, s.Life, s.Addr, false
	return k.Name, arrival
}

// meetTwin takes a sign of life that bears this server's name.
func (b *Bus) meetTwin(data []byte, now time.Time) {
	var s sign
	if json.Unmarshal(data, &s) != nil || s.Life == "" {
		b.metrics.dropped(stranger, 1)
		return
	}
	p := b.presence
	if s.Life == p.life { // this server, by its connection before
		return
	}
	p.mu.Lock()
	first := now.Sub(p.twinHeard) >= silentAfter
	p.twin, p.twinHeard = s, now
	p.mu.Unlock()
	if first {
		b.log.Error("another server has this server's name: names must be unique in a datacenter", "name", b.cfg.Self, "address", s.Addr)
	}
}

// announce sends this server's sign of life.
func (b *Bus) announce() {
	s := sign{Life: b.life}
	if b.embedded != nil {
		s.Addr = b.embedded.advertised()
	}
	if b.cfg.Mixed {
		s.Others = b.presence.here(time.Now())
	}
	data, err := json.Marshal(s)
	if err != nil {
		return // a struct of strings has no such error
	}
	b.out.push(item{about: b.sign, frame: data})
}

// look announces this server when it is time or there are new routes, and notes servers
// that went silent.
func (b *Bus) look(now time.Time) {
	routes := b.routes()
	p := b.presence
	p.mu.Lock()
	due := now.Sub(p.announced) >= hereEvery || routes > p.routes
	alone := p.lonely(routes, now)
	if due {
		p.announced = now
	}
	p.routes = routes
	silent, gone := p.sweep(now)
	p.mu.Unlock()
	if due {
		b.announce()
	}
	if alone && b.embedded != nil && b.embedded.wanted() {
		b.log.Warn("the bus reaches no other server; it is tried on", "for", aloneAfter)
	}
	for _, name := range silent {
		b.log.Info("a server is not heard on the bus any more", "server", name)
	}
	for _, token := range gone {
		if b.embedded != nil {
			if err := b.embedded.forget(token); err != nil {
				b.log.Error("a route of the bus is not given up", "error", err)
			}
		}
	}
}

// lonely reports once that there was no route for aloneAfter.
func (p *presence) lonely(routes int, now time.Time) bool {
	if routes > 0 || p.alone.IsZero() {
		p.alone, p.told = now, false
	}
	if p.told || now.Sub(p.alone) < aloneAfter {
		return false
	}
	p.told = true
	return true
}

// sweep returns the names of servers that went silent, and the tokens of those that were
// forgotten.
func (p *presence) sweep(now time.Time) (silent, gone []string) {
	for token, k := range p.peers {
		age := now.Sub(k.Heard)
		if k.life != "" && age >= silentAfter {
			silent = append(silent, k.Name)
			k.life, k.was = "", "" // its return is news, also of the same life
		}
		if age >= forgetAfter {
			gone = append(gone, token)
			delete(p.peers, token)
		}
	}
	return silent, gone
}

// Status returns the state of the bus.
func (b *Bus) Status() Status {
	now := time.Now()
	s := Status{Addr: b.Addr(), Connected: b.conn.Load() != nil, Routes: b.routes()}
	p := b.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.peers {
		peer := k.Peer
		peer.Here = now.Sub(peer.Heard) < silentAfter
		s.Peers = append(s.Peers, peer)
	}
	slices.SortFunc(s.Peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	if p.twin.Life != "" && now.Sub(p.twinHeard) < silentAfter {
		if s.Twin = p.twin.Addr; s.Twin == "" {
			s.Twin = "unknown"
		}
	}
	return s
}

// Peers returns the names of the servers that were heard within the last 5 seconds, in
// order.
func (b *Bus) Peers() (names []string) {
	for _, p := range b.Status().Peers {
		if p.Here {
			names = append(names, p.Name)
		}
	}
	return names
}

// routes counts the servers that this one's NATS has a route to.
func (b *Bus) routes() int {
	if b.embedded == nil {
		return 0
	}
	return b.embedded.srv.Load().NumRemotes()
}
