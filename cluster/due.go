package cluster

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// grain is the precision at which silence is noticed.
const grain = 100 * time.Millisecond

// wheel has the owners of this server by the time at which they are looked at next. A beat
// does not move its owner: one that has beaten meanwhile is put in again. So a tick visits
// only the owners that are due, and each owner once in its TTL.
type wheel struct {
	slots map[int64][]*owner
	last  int64      // the last slot that was looked at
	free  [][]*owner // slices to use again
}

func (w *wheel) add(o *owner, at time.Duration) {
	if w.slots == nil {
		w.slots = map[int64][]*owner{}
	}
	o.slot = max(int64(at/grain), w.last) + 1
	in, is := w.slots[o.slot]
	if n := len(w.free); !is && n > 0 {
		in, w.free = w.free[n-1], w.free[:n-1]
	}
	w.slots[o.slot] = append(in, o)
}

// take calls visit for the owners whose slots have come.
func (w *wheel) take(now time.Duration, visit func(*owner)) {
	for w.last < int64(now/grain) {
		w.last++
		in, is := w.slots[w.last]
		if !is {
			continue
		}
		delete(w.slots, w.last)
		for _, o := range in {
			if o.slot == w.last { // else it was put elsewhere
				o.slot = 0
				visit(o)
			}
		}
		clear(in)
		w.free = append(w.free, in[:0])
	}
}

// advance takes the time. A stall of this server makes no owner's silence longer, and no
// peer's; after a long one all owners have a full TTL.
func (s *Server) advance(now time.Time) {
	gap := now.Sub(s.now)
	s.now = now
	if gap <= s.t.Tick {
		s.living += gap
		return
	}
	if gap > s.t.Down {
		s.woke = now
		s.fullTTL()
		s.compareAll() // changes of this time may be missing in their logs
	}
	if gap > s.t.Forget/2 {
		s.away()
		s.together = now
	}
	for _, p := range s.peers {
		if !p.ticked.IsZero() {
			p.ticked = later(p.ticked, now.Add(-s.t.Down/2))
			p.up = now
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// fullTTL gives all owners of this server a full TTL from now.
func (s *Server) fullTTL() {
	if !s.off.fullTTL {
		s.floor = s.living
	}
}

// silence is how long an owner of this server was not heard.
func (s *Server) silence(o *owner) time.Duration { return s.living - max(o.beat, s.floor) }

// heardHere reports whether an owner's own word came to this server within its TTL.
func (s *Server) heardHere(o *owner) bool { return !o.here.IsZero() && s.now.Sub(o.here) < o.TTL }

// lives reports whether an owner may be judged.
func (o *owner) lives() bool {
	return o.Stand.attached() && o.Stand.State != Lost && !o.Gone && o.Kind != skerry.ExternalOwner
}

// hole reports whether an owner lives and its set is not here.
func (o *owner) hole() bool { return o.Stand.State != Lost && o.Stand.attached() && !o.has && !o.Gone }

// index keeps the lists in which an owner is.
func (s *Server) index(o *owner) {
	s.file(o)
	if o.hole() {
		s.holes[o] = true
	} else if len(s.holes) > 0 {
		delete(s.holes, o)
	}
	home := o.Stand.Home
	if !o.lives() {
		home = ""
	}
	if home != o.listed {
		s.unlist(o)
		if home != "" {
			o.listed, o.place = home, len(s.homes[home])
			s.homes[home] = append(s.homes[home], o)
		}
	}
	if o.slot == 0 && home == s.cfg.Self {
		s.schedule(o)
	}
}

func (s *Server) unlist(o *owner) {
	if o.listed == "" {
		return
	}
	list := s.homes[o.listed]
	end := list[len(list)-1]
	list[o.place], end.place = end, o.place
	list[len(list)-1] = nil
	if s.homes[o.listed] = list[:len(list)-1]; len(list) == 1 {
		delete(s.homes, o.listed)
	}
	o.listed, o.slot = "", 0
}

// schedule puts an owner of this server into the wheel.
func (s *Server) schedule(o *owner) {
	due := max(o.beat, s.floor) + o.TTL
	if o.Stand.State == Held && o.until.After(s.now) {
		due = s.living + o.until.Sub(s.now)
	}
	s.wheel.add(o, due)
}

// due returns this server's owners that are silent for their TTL, or whose hold ended.
func (s *Server) due() (silent []*owner) {
	s.wheel.take(s.living, func(o *owner) {
		held := o.Stand.State == Held && s.now.Before(o.until)
		if o.listed != s.cfg.Self {
			return
		}
		if held || s.silence(o) <= o.TTL {
			s.schedule(o)
			return
		}
		silent = append(silent, o)
	})
	return silent
}

// orphans returns the owners whose homes are gone, and for which it is this server to judge.
func (s *Server) orphans() (silent []*owner) {
	if !s.chairs() {
		return nil
	}
	var gone []ServerID
	for home := range s.homes {
		if home != s.cfg.Self && (s.unheard(home) || s.off.majority && !s.up(home)) {
			gone = append(gone, home)
		}
	}
	slices.Sort(gone)
	for _, home := range gone {
		list := s.homes[home]
		left := len(list)
		if p := s.peers[home]; p != nil {
			left = max(left, p.left)
		}
		grace := max(s.t.Grace, 3*spread(left, len(s.upPeers()))) // they move one after the other
		for i := len(list) - 1; i >= 0; i-- {                     // backwards: one that is taken over leaves the list
			if o := list[i]; s.orphaned(o, grace) {
				silent = append(silent, o)
			}
		}
	}
	return silent
}
