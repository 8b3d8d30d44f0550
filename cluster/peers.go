package cluster

import (
	"maps"
	"slices"
	"time"
)

// hears reports whether this server hears another.
func (s *Server) hears(id ServerID) bool {
	if id == s.cfg.Self {
		return true
	}
	p := s.peers[id]
	return p != nil && !p.ticked.IsZero() && s.now.Sub(p.ticked) <= s.t.Down
}

// up reports whether two servers hear each other: one way only counts as a cut.
func (s *Server) up(id ServerID) bool {
	return id == s.cfg.Self || s.hears(id) && (s.off.mutual || slices.Contains(s.peers[id].tick.Hears, s.cfg.Self))
}

func (s *Server) upPeers() (out []ServerID) {
	for _, id := range slices.Sorted(maps.Keys(s.peers)) {
		if s.up(id) {
			out = append(out, id)
		}
	}
	return out
}

// hearing lists the servers that this one hears.
func (s *Server) hearing() []ServerID {
	out := []ServerID{s.cfg.Self}
	for _, id := range slices.Sorted(maps.Keys(s.peers)) {
		if s.hears(id) {
			out = append(out, id)
		}
	}
	return out
}

// count returns how many of the members are as is says, this server among them if it is one.
func (s *Server) count(is func(id ServerID, p *peer) bool) (n int) {
	if s.voter {
		n++
	}
	for id, p := range s.peers {
		if p.voter && is(id, p) {
			n++
		}
	}
	return n
}

// Votes returns how many of the members are up with this server, itself among them, and how
// many there are.
func (s *Server) Votes() (up, of int) {
	return s.count(func(id ServerID, _ *peer) bool { return s.up(id) }), s.of
}

// Minority reports whether this server is up with no more than half of the members.
func (s *Server) Minority() bool {
	up, of := s.Votes()
	return 2*up <= of
}

// unheard reports whether a majority of the members do not hear a server.
func (s *Server) unheard(id ServerID) bool {
	if s.up(id) {
		return false
	}
	n := s.count(func(other ServerID, p *peer) bool {
		return other != id && s.up(other) && !slices.Contains(p.tick.Hears, id)
	})
	return 2*n > s.of
}

// noteUnheard notes since when a majority does not hear a server. Its owners have their
// grace from then on: until then another server heard them through it.
func (s *Server) noteUnheard() {
	for id, p := range s.peers {
		switch unheard := s.unheard(id); {
		case !unheard:
			p.unheard = time.Time{}
		case p.unheard.IsZero():
			p.unheard, p.left = s.now, len(s.homes[id])
		}
	}
}

// chairs reports whether this server judges orphans. Of the members that are up with each
// other the lowest does.
func (s *Server) chairs() bool {
	if !s.voter {
		return false
	}
	for id, p := range s.peers {
		if p.voter && id < s.cfg.Self && s.up(id) {
			return false
		}
	}
	return true
}

// settling reports whether a peer came up so lately that what it knows may not have come.
func (s *Server) settling(within time.Duration) bool {
	for _, p := range s.peers {
		if !p.up.IsZero() && s.now.Sub(p.up) < within {
			return true
		}
	}
	return false
}

// learning reports whether a peer came up so lately that a loss may be known here before the
// newer attachment that it has: the first comparison with it is not finished.
func (s *Server) learning() bool {
	for _, p := range s.peers {
		unknown := p.stale || !s.now.After(p.adopted)
		if since := s.now.Sub(p.up); !p.up.IsZero() && (since < time.Second || unknown && since < s.t.Settle) {
			return true
		}
	}
	return false
}

// stale reports whether a peer came up so lately that the first comparison with it is not finished.
func (s *Server) stale() bool {
	for id, p := range s.peers {
		if p.stale && s.up(id) && s.now.Sub(p.up) < s.t.Settle {
			return true
		}
	}
	return false
}

func (s *Server) takeTick(from ServerID, p *peer, m Tick) {
	was := s.up(from)
	p.ticked, p.tick = s.now, m
	s.meet(m)
	for id := range s.peers {
		if id != from && s.up(id) && !slices.Contains(m.Hears, id) {
			p.lacked = s.now
		}
	}
	s.forget(m.Horizon)
	if !was && s.up(from) {
		p.up, p.stale = s.now, true
	}
	if s.off.repair {
		return
	}
	if m.Head.Life < p.pos.Life {
		// Its clock went back before it started again. A position in its last life is
		// none in this one.
		p.pos, p.stale = Pos{}, true
	}
	if p.stale {
		s.ask(from, Pos{})
		return
	}
	if p.pos.before(m.Head) {
		s.ask(from, p.pos)
		return
	}
	// A third server's records that it has, and this server lacks, are asked of it.
	ahead := false
	for third, pos := range m.Seen {
		if q := s.peers[third]; q != nil && q.pos.before(pos) {
			ahead = true
		}
	}
	switch {
	case !ahead:
		p.behind = time.Time{}
		if m.Sum != s.sum && s.sameSeen(m.Seen) && m.Seen[s.cfg.Self] == s.ring.head() && m.Horizon == s.horizon {
			if s.whole {
				s.out.Diverged++
			}
			s.ask(from, Pos{}) // a real divergence
		}
	case p.behind.IsZero():
		p.behind = s.now
	case s.now.Sub(p.behind) >= time.Second:
		s.ask(from, Pos{})
	}
}

// Caught reports whether this server has all that the others had accepted when they told the
// heads of their logs: all that it hears, and a majority with this server. Positions only
// grow, so that answers of several steps may be joined.
func (s *Server) Caught(heads map[ServerID]Pos) bool {
	has := func(id ServerID, p *peer) bool {
		head, told := heads[id]
		return told && !p.pos.before(head)
	}
	for id, p := range s.peers {
		if s.hears(id) && !has(id, p) {
			return false
		}
	}
	return 2*s.count(has) > s.of
}

// drainWithin is how long after a stall the messages may come that waited for its end: they are of
// the time before it.
const drainWithin = time.Second

// Current reports whether this server has all that a majority of the members told it of, and
// was told since it last stalled.
func (s *Server) Current() bool {
	if !s.whole {
		return false
	}
	n := s.count(func(id ServerID, p *peer) bool {
		return s.up(id) && p.ticked.Sub(s.woke) >= drainWithin && !p.pos.before(p.tick.Head)
	})
	return 2*n > s.of
}

// Heard returns the time since a peer's last tick came. ok is false if none came.
func (s *Server) Heard(now time.Time, id ServerID) (ago time.Duration, ok bool) {
	p := s.peers[id]
	if p == nil || p.ticked.IsZero() {
		return 0, false
	}
	return now.Sub(p.ticked), true
}

// Since returns since when this server and another hear each other, zero if they do not.
func (s *Server) Since(id ServerID) time.Time {
	switch {
	case id == s.cfg.Self:
		return s.started
	case !s.up(id):
		return time.Time{}
	default:
		return s.peers[id].up
	}
}

// SetStore sets how far this server's member of the quorum store has come.
func (s *Server) SetStore(m Mark) { s.store = m }

// Store returns how far a server's member of the quorum store had come by its last tick.
func (s *Server) Store(id ServerID) Mark {
	if p := s.peers[id]; p != nil {
		return p.tick.Store
	}
	return s.store
}

// Head returns the position up to which this server's own log goes.
func (s *Server) Head() Pos { return s.ring.head() }

// Behind returns the number of records of a peer's log that this server lacks, by the peer's
// last tick.
func (s *Server) Behind(id ServerID) uint64 {
	p := s.peers[id]
	switch {
	case p == nil || !p.pos.before(p.tick.Head):
		return 0
	case p.pos.Life < p.tick.Head.Life:
		return p.tick.Head.Seq
	default:
		return p.tick.Head.Seq - p.pos.Seq
	}
}

// Frozen returns the number of this server's owners that it may not judge: all, while it is in
// a minority.
func (s *Server) Frozen() int {
	if !s.Minority() {
		return 0
	}
	return len(s.homes[s.cfg.Self])
}

// sameSeen reports whether a peer has seen as much of others' logs as this server.
func (s *Server) sameSeen(seen map[ServerID]Pos) bool {
	for id, p := range s.peers {
		if pos, ok := seen[id]; ok && pos != p.pos {
			return false
		}
	}
	return true
}

// seen returns the positions up to which this server has merged, its own head among them.
func (s *Server) seen() map[ServerID]Pos {
	out := map[ServerID]Pos{s.cfg.Self: s.ring.head()}
	for id, p := range s.peers {
		out[id] = p.pos
	}
	return out
}

// compareAll begins a comparison with each peer: some of their records were not taken.
func (s *Server) compareAll() {
	for _, p := range s.peers {
		p.stale = true
	}
}
