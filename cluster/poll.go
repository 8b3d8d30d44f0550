package cluster

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// The guard has to know of all owners that fell silent together, whatever their homes. So a server that finds
// owners silent asks the others first.

// QuietAsk asks for the owners of a server that may have failed at the same moment as those that are silent. N
// is a number of the sender's, which the answer carries.
type QuietAsk struct{ N uint64 }

// Quiet answers QuietAsk with the owners that are silent for two thirds of their TTL, or longer.
type Quiet struct {
	N      uint64
	Owners []skerry.OwnerID
}

func (QuietAsk) message() {}
func (Quiet) message()    {}

// poll is the question to all peers before silent owners are judged.
type poll struct {
	n      uint64
	since  time.Time         // zero: none is under way
	left   map[ServerID]bool // the peers that did not answer
	quiet  []skerry.OwnerID
	silent []*owner // of this server: they are in the wheel no more
}

const (
	// pollWithin bounds the wait for the answers.
	pollWithin = 500 * time.Millisecond
	// mostQuiet bounds the owners in one, for its size: about 2 MB.
	mostQuiet = 50_000
)

// polled reports whether all peers that are up have answered, or a majority of the members has and the others had the time to.
func (s *Server) polled() bool {
	if s.cfg.Guard == nil {
		return true
	}
	p := &s.poll
	if p.since.IsZero() {
		p.since, p.left, p.quiet = s.now, map[ServerID]bool{}, nil
		p.n++
		for _, id := range s.upPeers() {
			p.left[id] = true
			s.send(id, QuietAsk{p.n})
		}
	}
	for id := range p.left {
		if !s.up(id) || !s.peers[id].answersPolls() {
			delete(p.left, id)
		}
	}
	late := s.now.Sub(p.since) >= pollWithin
	answered := s.count(func(id ServerID, _ *peer) bool { return s.up(id) && !p.left[id] })
	if late && 2*answered <= s.of {
		p.since = time.Time{} // this server may be cut off, and not know it yet: it asks again
		return false
	}
	return late || len(p.left) == 0
}

// answersPolls reports whether a peer's release knows QuietAsk.
func (p *peer) answersPolls() bool { return p.tick.Speaks.Max >= 2 }

// takeQuiet takes a peer's answer. With the last one the silent owners are judged.
func (s *Server) takeQuiet(from ServerID, m Quiet) {
	p := &s.poll
	if p.since.IsZero() || m.N != p.n || !p.left[from] {
		return
	}
	delete(p.left, from)
	p.quiet = append(p.quiet, m.Owners...)
	if len(p.left) == 0 && !s.Minority() {
		s.expire()
	}
}

// expire judges the owners that are silent, after the other servers were asked for theirs.
func (s *Server) expire() {
	if s.now.Sub(s.started) < s.t.Recover || s.settling(s.t.Settle) || s.doubts() {
		return
	}
	silent := slices.Concat(s.stillSilent(), s.due(), s.orphans())
	if len(silent) > 0 && !s.polled() {
		s.poll.silent = slices.DeleteFunc(silent, func(o *owner) bool { return o.listed != s.cfg.Self })
		return
	}
	s.poll.since = time.Time{}
	if len(silent) == 0 {
		return
	}
	slices.SortFunc(silent, byID)
	s.end(silent)
}

// stillSilent returns the owners of this server that wait for the peers' answers.
func (s *Server) stillSilent() (silent []*owner) {
	for _, o := range s.poll.silent {
		switch {
		case o.listed != s.cfg.Self || o.slot != 0: // it ended or moved, or is in the wheel again
		case s.silence(o) <= o.TTL:
			s.schedule(o)
		default:
			silent = append(silent, o)
		}
	}
	s.poll.silent = nil
	return silent
}

// quiet names the owners of this server that may have failed at the same moment as those
// that are silent: 50,000 at most.
func (s *Server) quiet(silent map[*owner]bool) (ids []skerry.OwnerID) {
	for _, o := range s.homes[s.cfg.Self] {
		if o.Stand.State == Live && 3*s.silence(o) >= 2*o.TTL && !silent[o] {
			ids = append(ids, o.Owner)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), mostQuiet)]
}
