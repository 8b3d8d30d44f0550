package cluster

import (
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// units is the number of parts of Timing.Forget, at whose ends owners are forgotten.
const units = 24

// wholeWithin is how long a server in a majority looks for a peer that has all.
const wholeWithin = 10 * time.Second

// Whole reports whether this server has what its peers know. At a start and after a long
// absence it has not, until it has compared itself with a peer that has; or with all
// members, or for 10 s, if none has; never while it copies.
func (s *Server) Whole() bool { return s.whole }

// Compared reports whether this server is up with others, and has compared itself with each
// of them since it started.
func (s *Server) Compared() bool {
	up := s.upPeers()
	for _, id := range up {
		if !s.peers[id].compared {
			return false
		}
	}
	return len(up) > 0
}

// Together returns the last moment at which this server was up with a majority, zero if it
// was not since its start. A server keeps it on its disk: leases are not restored (see
// [Server.Restore]) if it lies more than half of Timing.Forget back.
func (s *Server) Together() time.Time {
	if s.together.Equal(s.started) {
		return time.Time{}
	}
	return s.together
}

// RestoreWithin is half of the default of Timing.Forget.
const RestoreWithin = 12 * time.Hour

// becomeWhole finds that no peer knows more.
func (s *Server) becomeWhole() {
	if s.whole {
		return
	}
	for _, p := range s.peers {
		if s.repairing(p) {
			return
		}
	}
	n := s.count(func(id ServerID, p *peer) bool { return p.compared && s.up(id) })
	s.whole = n >= s.of || s.now.Sub(later(later(s.majority, s.started), s.doubting)) > wholeWithin
}

// dead reports whether an owner was withdrawn or lost.
func (r *Record) dead() bool { return r.Gone || r.lost() }

func (s *Server) unit(ms int64) int64 { return ms / (s.t.Forget.Milliseconds() / units) }

// past reports whether an owner that ended at a time is forgotten. A record of it is not
// taken any more.
func (s *Server) past(ended int64) bool { return ended != 0 && s.unit(ended) <= s.horizon }

// file notes when an owner ended.
func (s *Server) file(o *owner) {
	if o.filed == o.Ended {
		return
	}
	if o.filed = o.Ended; o.Ended != 0 {
		at := s.unit(o.Ended)
		s.ended[at] = append(s.ended[at], o)
	}
}

// forget drops the owners that ended long ago. The horizon moves by units and is the
// greatest of all servers', so that all drop the same at nearly the same time; a clock that
// is ahead by more than a unit moves no other server's. Nothing is forgotten that a peer
// which returns may not know.
func (s *Server) forget(heard int64) {
	if s.Minority() || !s.whole || s.settling(s.t.Settle) {
		return
	}
	own := s.unit(s.now.UnixMilli()) - units
	s.horizon = max(s.horizon, own)
	if heard <= own+1 {
		s.horizon = max(s.horizon, heard)
	}
	s.forgetMost()
	for at, owners := range s.ended {
		if at > s.horizon {
			continue
		}
		s.forgetFirst(at, len(owners))
	}
}

// maxEnded bounds the owners that a server without others remembers after their end: a client can make
// owners up. Among several the others would send them again.
const maxEnded = 100_000

// forgetMost drops the owners that ended first beyond maxEnded.
func (s *Server) forgetMost() {
	over := -maxEnded
	for _, owners := range s.ended {
		over += len(owners)
	}
	if s.Others() || over <= 0 {
		return
	}
	for _, at := range slices.Sorted(maps.Keys(s.ended)) {
		n := min(over, len(s.ended[at]))
		s.forgetFirst(at, n)
		over -= n
	}
}

// forgetFirst drops the owners that ended first in a unit of time.
func (s *Server) forgetFirst(at int64, n int) {
	owners := s.ended[at]
	for _, o := range owners[:n] {
		if o.dead() && s.unit(o.Ended) == at {
			s.drop(o)
		}
	}
	if s.ended[at] = slices.Delete(owners, 0, n); n == len(owners) {
		delete(s.ended, at)
	}
}

// drop removes an owner without a trace.
func (s *Server) drop(o *owner) {
	if s.owners[o.Owner] != o {
		return
	}
	s.edit(o, func() { o.Version, o.Stand, o.Gone, o.has = skerry.Version{}, Stand{}, false, false })
	s.change(o)
	delete(s.owners, o.Owner)
	in := s.inBucket[o.bucket]
	for i := range in {
		if in[i] == o {
			in[i] = in[len(in)-1]
			in[len(in)-1] = nil
			s.inBucket[o.bucket] = in[:len(in)-1]
			break
		}
	}
}

// endAnew gives owners that were withdrawn here in a minority the end of that minority as theirs:
// the others learn of them now, and one of them may be away soon.
func (s *Server) endAnew() {
	for _, o := range s.aside {
		if s.owners[o.Owner] == o && o.Gone {
			s.edit(o, func() { o.Ended = s.now.UnixMilli() })
			s.publish(o, nil)
		}
	}
	s.aside = nil
}

// away notes that this server was in a minority, or stopped, for long. The owners
// that it knows may have ended since, and be forgotten by all. They are shown on, but are
// neither summed nor sent until another server confirms them, or they beat.
func (s *Server) away() {
	s.doubting, s.whole = s.now, false
	for _, p := range s.peers {
		p.repair, p.sums, p.compared = 0, nil, false
	}
	for _, o := range s.owners {
		if !o.dead() && !s.heardHere(o) {
			s.edit(o, func() { o.doubt = true })
			delete(s.heard[o.Stand.Home], o.Owner) // its word is of before
		}
	}
}

// trust ends the doubt in an owner.
func (s *Server) trust(o *owner) {
	if o.doubt {
		s.edit(o, func() { o.doubt = false })
	}
}

// hear ends the doubt in an owner by its own word. The others may not know it.
func (s *Server) hear(o *owner) {
	if o.doubt {
		s.trust(o)
		o.revived = true
		s.publish(o, nil)
	}
}

// confirm drops the owners that were not confirmed, once a peer that was not away and their
// homes were compared. Homes that are not there are not waited for.
func (s *Server) confirm() {
	sure := false
	for _, p := range s.peers {
		sure = sure || p.compared && !p.doubts
	}
	left := false
	for _, o := range s.owners {
		home := o.Stand.Home
		switch {
		case !o.doubt:
		case sure && (home == s.cfg.Self || !s.up(home) || s.peers[home].compared):
			o.doubt = false
			s.drop(o)
		default:
			left = true
		}
	}
	if !left {
		s.doubting, s.whole = time.Time{}, true
	}
}

// doubts reports whether owners are still doubted. The doubt ends without a result if no
// peer knows more.
func (s *Server) doubts() bool {
	if !s.doubting.IsZero() && s.whole {
		s.doubting = time.Time{}
		for _, o := range s.owners {
			s.trust(o)
		}
	}
	return !s.doubting.IsZero()
}
