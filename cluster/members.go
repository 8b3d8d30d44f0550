package cluster

import (
	"maps"
	"slices"
	"time"
)

// peerKept is how long a peer that is no member, and that no server hears, is remembered.
const peerKept = time.Minute

// SetMembers sets the servers that count for a majority, Self among them or not. The
// majority is counted over of servers, at least len(members): over the number that the
// cluster is expected to start with, before there is a list of members.
//
// A server that is not a member and speaks is a peer without a vote: its messages are taken
// and answered, and its owners are judged as those of any home. It counts for no majority
// and judges no orphans.
func (s *Server) SetMembers(now time.Time, members []ServerID, of int) {
	s.advance(now)
	s.setMembers(members, of)
}

func (s *Server) setMembers(members []ServerID, of int) {
	s.voter, s.of = slices.Contains(members, s.cfg.Self), max(of, len(members))
	for id, p := range s.peers {
		p.voter = slices.Contains(members, id)
	}
	for _, id := range members {
		if id != s.cfg.Self {
			s.peer(id).voter = true
		}
	}
}

// peer returns the state of another server, and makes it at first.
func (s *Server) peer(id ServerID) *peer {
	p := s.peers[id]
	if p == nil {
		p = &peer{named: s.now}
		s.peers[id] = p
	}
	return p
}

// Known returns the servers that count for a majority or were heard of lately, this one
// among them, ordered by name.
func (s *Server) Known() []ServerID {
	known := append(slices.Collect(maps.Keys(s.peers)), s.cfg.Self)
	slices.Sort(known)
	return known
}

// Others reports whether any other server is known.
func (s *Server) Others() bool { return len(s.peers) > 0 }

// meet notes the servers that a peer hears. Their logs are asked of it where this server
// does not hear them.
func (s *Server) meet(m Tick) {
	for _, id := range m.Hears {
		if id != s.cfg.Self {
			s.peer(id).named = s.now
		}
	}
}

// forgetPeers forgets peers without a vote that are gone.
func (s *Server) forgetPeers() {
	for id, p := range s.peers {
		if !p.voter && s.now.Sub(p.named) > peerKept {
			delete(s.peers, id)
			delete(s.heard, id)
		}
	}
}
