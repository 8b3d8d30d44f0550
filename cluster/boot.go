package cluster

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Round is one proposal of a list of first members.
type Round struct {
	Proposer ServerID
	N        uint64 // counts the proposer's rounds
}

// MarshalText implements [encoding.TextMarshaler]: the number, a slash, the proposer.
func (r Round) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d/%s", r.N, r.Proposer), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Round) UnmarshalText(text []byte) error {
	number, proposer, ok := bytes.Cut(text, []byte("/"))
	n, err := strconv.ParseUint(string(number), 10, 64)
	if !ok || err != nil {
		return fmt.Errorf("%q is no round: want a number, a slash and a name", text)
	}
	*r = Round{ServerID(proposer), n}
	return nil
}

// Proposal is a list of first members.
type Proposal struct {
	Round   Round
	Members []ServerID
	URLs    map[ServerID]string // where the others reach each member of the quorum store
}

// Kept is what forming a cluster keeps on disk. A message that rests on it may be sent once
// it is there.
type Kept struct {
	Accepted *Proposal      // this server accepts no other until it is void
	Started  *Proposal      // the cluster's first members, once they are known
	Rounds   uint64         // that this server proposed
	Decided  map[Round]bool // its rounds that all accepted
	Void     map[Round]bool // its rounds that never will be decided
}

// KeptAlone returns the state of a server that is the only first member of its cluster, by
// the n-th of its rounds.
func KeptAlone(self ServerID, url string, n uint64) Kept {
	p := Proposal{Round{self, n}, []ServerID{self}, map[ServerID]string{self: url}}
	return Kept{Accepted: &p, Started: &p, Rounds: n, Decided: map[Round]bool{p.Round: true}}
}

// The messages by which servers form a cluster.
type (
	// Hello is sent to all that are known. Started is the sender's cluster, if it has one.
	Hello struct {
		Started *Proposal
		URL     string // of the sender's member of the quorum store
		Reads   bool   // the sender never gets a vote: it is no first member
	}
	// Propose asks to accept a proposal.
	Propose struct{ Proposal }
	// Accept answers Propose.
	Accept struct{ Round Round }
	// Start is sent once all have accepted: the cluster exists.
	Start struct{ Proposal }
	// Counts asks a proposer whether a round that was accepted still counts.
	Counts struct{ Round Round }
	// Void ends a round that never will be decided.
	Void struct{ Round Round }
	// Join asks for a place in the quorum store, for the sender.
	Join struct{ URL string }
	// Joined answers Join with the members of the store, by name, or with the reason why
	// there is no place.
	Joined struct {
		Members map[string]string
		Refused string
	}
	// HandOver asks the leader of the quorum store to make another member lead: that of a
	// name, or any if To is empty. N is a number of the sender, which the answer carries.
	HandOver struct {
		To string
		N  uint64
	}
	// HandedOver answers HandOver. Refused is the reason why the lead stays; it is empty
	// after a change.
	HandedOver struct {
		N       uint64
		Refused string
	}
)

func (Hello) message()      {}
func (Propose) message()    {}
func (Accept) message()     {}
func (Start) message()      {}
func (Counts) message()     {}
func (Void) message()       {}
func (Join) message()       {}
func (Joined) message()     {}
func (HandOver) message()   {}
func (HandedOver) message() {}

// The times of forming a cluster.
const (
	bootHello  = 500 * time.Millisecond
	bootSeen   = 2 * time.Second        // a server that said hello is there for so long
	bootStable = time.Second            // no server came or went for so long before a proposal
	bootAgain  = 250 * time.Millisecond // a proposal is repeated
	bootRound  = 2 * time.Second        // a round that is not complete is void
	bootCounts = time.Second            // an acceptance is asked about
)

// Boot forms the list of a cluster's first members: the server with the lowest id among
// those seen proposes, each accepts one list, and all must accept. Its methods must not be
// called at once.
type Boot struct {
	self   ServerID
	url    string
	expect int
	kept   Kept
	dirty  bool
	out    []Envelope

	reads    bool // this server never gets a vote
	seen     map[ServerID]time.Time
	readers  map[ServerID]bool // those of seen that never get a vote
	urls     map[ServerID]string
	round    *Proposal // of this server, under way
	got      map[ServerID]bool
	began    time.Time // of round
	known    []ServerID
	stable   time.Time
	said     time.Time
	asked    time.Time
	repeated time.Time
	off      bootRules
}

// bootRules are switched off by tests.
type bootRules struct{ once, all bool }

// NoVote stands for the number of first members on a server that never gets a vote: a read
// server.
const NoVote = -1

// NewBoot returns a server that takes part in forming a cluster of expect first members; 0:
// it forms none, and learns of one that exists; [NoVote]: besides, it never gets a vote. url is
// where the others reach its member of the quorum store. kept is the state on its disk.
func NewBoot(self ServerID, url string, expect int, kept Kept, now time.Time) *Boot {
	if kept.Decided == nil {
		kept.Decided = map[Round]bool{}
	}
	if kept.Void == nil {
		kept.Void = map[Round]bool{}
	}
	return &Boot{
		self: self, url: url, expect: max(expect, 0), kept: kept, reads: expect == NoVote,
		seen: map[ServerID]time.Time{}, readers: map[ServerID]bool{}, urls: map[ServerID]string{self: url}, stable: now,
	}
}

// Members returns the first members once the cluster exists, else nil.
func (b *Boot) Members() []ServerID {
	if b.kept.Started == nil {
		return nil
	}
	return b.kept.Started.Members
}

// Started returns the cluster's first members, once they are known.
func (b *Boot) Started() (p Proposal, ok bool) {
	if b.kept.Started == nil {
		return Proposal{}, false
	}
	return *b.kept.Started, true
}

// Founds reports whether this server promised to be one of the first members that are
// known. A server that lost its disk has not: its name may be among them.
func (b *Boot) Founds() bool {
	a, s := b.kept.Accepted, b.kept.Started
	return a != nil && s != nil && a.Round == s.Round && slices.Contains(s.Members, b.self)
}

// Votes reports whether a server said lately that it takes a vote.
func (b *Boot) Votes(now time.Time, id ServerID) bool {
	at, ok := b.seen[id]
	return ok && now.Sub(at) < bootSeen && !b.readers[id]
}

// Ready returns the state to keep, if it changed, and the messages to send once that is on
// disk.
func (b *Boot) Ready() (keep *Kept, send []Envelope) {
	if b.dirty {
		k := Kept{b.kept.Accepted, b.kept.Started, b.kept.Rounds, maps.Clone(b.kept.Decided), maps.Clone(b.kept.Void)}
		keep, b.dirty = &k, false
	}
	send, b.out = b.out, nil
	return keep, send
}

func (b *Boot) send(to ServerID, m Message) { b.out = append(b.out, Envelope{to, m}) }

// Tick lets time pass.
func (b *Boot) Tick(now time.Time) {
	if now.Sub(b.said) >= bootHello {
		b.said = now
		b.send("", Hello{b.kept.Started, b.url, b.reads})
	}
	if b.kept.Started != nil {
		return
	}
	if a := b.kept.Accepted; a != nil && now.Sub(b.asked) >= bootCounts {
		b.asked = now
		b.ask(a.Round)
	}
	known := []ServerID{b.self}
	for id, at := range b.seen {
		if now.Sub(at) < bootSeen && !b.readers[id] {
			known = append(known, id)
		}
	}
	slices.Sort(known)
	if !slices.Equal(known, b.known) {
		b.known, b.stable = known, now
	}
	switch {
	case b.round != nil && now.Sub(b.began) > bootRound:
		b.kept.Void[b.round.Round], b.dirty = true, true
		b.round = nil
	case b.round != nil && now.Sub(b.repeated) >= bootAgain:
		b.propose(now)
	case b.round == nil && b.expect > 0 && len(known) >= b.expect && known[0] == b.self && now.Sub(b.stable) > bootStable:
		b.kept.Rounds++
		b.dirty = true
		b.round = &Proposal{Round{b.self, b.kept.Rounds}, slices.Clone(known[:b.expect]), map[ServerID]string{}}
		for _, id := range b.round.Members {
			b.round.URLs[id] = b.urls[id]
		}
		b.got, b.began = map[ServerID]bool{}, now
		b.propose(now)
	}
}

// ask asks the proposer of a round whether it counts; this server answers itself.
func (b *Boot) ask(r Round) {
	if r.Proposer == b.self {
		b.counts(b.self, r)
		return
	}
	b.send(r.Proposer, Counts{r})
}

func (b *Boot) propose(now time.Time) {
	b.repeated = now
	p := *b.round
	for _, id := range p.Members {
		switch {
		case b.got[id]:
		case id == b.self:
			b.takeProposal(b.self, p)
		default:
			b.send(id, Propose{p})
		}
	}
}

// Step takes a message from another server.
func (b *Boot) Step(now time.Time, from ServerID, m Message) {
	switch m := m.(type) {
	case Hello:
		b.seen[from], b.urls[from], b.readers[from] = now, m.URL, m.Reads
		if m.Started != nil && b.kept.Started == nil {
			b.kept.Started, b.dirty = m.Started, true
		}
	case Propose:
		b.takeProposal(from, m.Proposal)
	case Accept:
		b.takeAccept(from, m.Round)
	case Start:
		b.takeStart(m.Proposal)
	case Counts:
		b.counts(from, m.Round)
	case Void:
		if a := b.kept.Accepted; b.kept.Started == nil && a != nil && a.Round == m.Round {
			b.kept.Accepted, b.dirty = nil, true
		}
	}
}

func (b *Boot) takeProposal(from ServerID, p Proposal) {
	switch a := b.kept.Accepted; {
	case b.kept.Started != nil:
	case a == nil || a.Round == p.Round || b.off.once:
		b.kept.Accepted, b.dirty = &p, true
		if from == b.self {
			b.takeAccept(b.self, p.Round)
			return
		}
		b.send(from, Accept{p.Round})
	default:
		b.ask(a.Round)
	}
}

func (b *Boot) takeAccept(from ServerID, r Round) {
	if b.round == nil || b.round.Round != r || b.kept.Void[r] {
		return
	}
	b.got[from] = true
	need := b.expect
	if b.off.all {
		need = b.expect/2 + 1
	}
	if len(b.got) < need {
		return
	}
	p := *b.round
	b.round = nil
	b.kept.Decided[r], b.dirty = true, true
	for _, id := range p.Members {
		if id != b.self {
			b.send(id, Start{p})
		}
	}
	b.takeStart(p)
}

func (b *Boot) takeStart(p Proposal) {
	if a := b.kept.Accepted; a != nil && a.Round == p.Round && b.kept.Started == nil {
		b.kept.Started, b.dirty = &p, true
	}
}

// counts answers whether one of this server's rounds still counts.
func (b *Boot) counts(from ServerID, r Round) {
	open := b.round != nil && b.round.Round == r
	switch {
	case b.kept.Decided[r]:
		p := b.decided(r)
		if p == nil {
			return
		}
		if from == b.self {
			b.takeStart(*p)
			return
		}
		b.send(from, Start{*p})
	case open:
	default:
		b.kept.Void[r], b.dirty = true, true
		if from == b.self {
			if a := b.kept.Accepted; a != nil && a.Round == r && b.kept.Started == nil {
				b.kept.Accepted = nil
			}
			return
		}
		b.send(from, Void{r})
	}
}

// decided returns the list of a decided round: the proposer itself accepted it.
func (b *Boot) decided(r Round) *Proposal {
	for _, p := range []*Proposal{b.kept.Started, b.kept.Accepted} {
		if p != nil && p.Round == r {
			return p
		}
	}
	return nil
}
