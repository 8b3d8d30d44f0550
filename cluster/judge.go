package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// merge takes what another server knows of an owner. Version and stand are two registers,
// each the greatest wins, by whatever path it comes.
func (s *Server) merge(r Record) {
	if s.past(r.Ended) && s.owners[r.Owner] == nil {
		return
	}
	o := s.get(&r)
	if o.doubt {
		s.trust(o)
		if r.Stand.Less(o.Stand) || r.Version.Less(o.Version) {
			s.publish(o, nil) // the sender may know no more than that it is there
		}
	}
	s.describe(o, cmp.Or(o.Kind, r.Kind), cmp.Or(r.TTL, o.TTL))
	var content *Record
	switch {
	case o.Version.Less(r.Version) && (r.Gone || r.Set != nil || r.Delta != nil && o.has && r.Base == o.Version),
		o.Version == r.Version && !o.has && !o.Gone && r.Set != nil:
		s.edit(o, func() {
			o.Version, o.Digest, o.Gone, o.has, o.Ended = r.Version, r.Digest, r.Gone, !r.Gone, max(o.Ended, r.Ended)
		})
		content = &r
	}
	if o.Stand.Less(r.Stand) || s.off.attach && o.Stand != r.Stand {
		s.mergeStand(o, r.Stand, r.Ended)
	}
	if o.lost() && o.Version.Less(r.Version) {
		// No server needs the set of a lost owner, but all have to agree on its version.
		s.edit(o, func() { o.Version, o.Digest, o.Gone, o.has = r.Version, r.Digest, r.Gone, false })
	}
	if (o.sameAs(&r) || o.Gone && r.Gone && o.Version == r.Version) && o.dead() && o.Ended < r.Ended {
		s.edit(o, func() { o.Ended = r.Ended })
	}
	if o.has && o.Version.Less(r.Version) && o.above.Less(r.Version) {
		o.above = r.Version
	}
	if content != nil && !o.has {
		content = nil
	}
	s.show(o, content)
}

// sameAs reports whether both registers are equal.
func (o *owner) sameAs(r *Record) bool {
	return o.Version == r.Version && o.Stand.Compare(r.Stand) == 0
}

func (s *Server) mergeStand(o *owner, stand Stand, ended int64) {
	self, shown := s.cfg.Self, o.shown && !o.Gone
	if stand.State == Lost && shown && s.Minority() && !s.off.freeze {
		return // frozen: it is taken when this server is in the majority again
	}
	old := o.Stand
	ours := old.Home == self
	heard := s.heardHere(o) || ours && stand.Home == self && o.heard && s.silence(o) < o.TTL
	if stand.State == Lost && shown {
		if stand.Home != self && stand.By != stand.Home && s.up(stand.Home) && !s.off.askHome {
			return // its home is there: it contests or agrees
		}
		switch { // an old loss may come before a newer attachment from another peer
		case heard:
		case stand.Home == self && s.stale():
			s.untaken = append(s.untaken, Record{Owner: o.Owner, Stand: stand, Ended: ended})
			return
		case stand.Home != self && s.learning():
			s.again = true
			return
		}
	}
	if stand.State == Lost && shown && s.putOff(o, stand) {
		return
	}
	s.edit(o, func() { o.Stand, o.Ended = stand, max(o.Ended, ended) })
	if stand.Home != old.Home {
		o.homed = s.now
	}
	s.relay(o, old.Home)
	if stand.Home == self && !ours {
		o.beat, o.heard = s.living, false // a full TTL: it is ours from an earlier life, or by a tie
	}
	if stand.Home != self && stand.State == Live && (ours || !old.attached()) && s.heardHere(o) {
		s.tellHome(o) // it was heard here while this server was its home too, or did not know it
	}
	if stand.State != Lost || o.Gone {
		return
	}
	if !s.off.contest {
		switch {
		case heard && stand.Home == self:
			s.bid(o, Live)
			return
		case heard:
			s.become(o)
			return
		}
	}
	if stand.Home == self && stand.By != self {
		s.edit(o, func() { o.Stand.By = self })
		s.publish(o, nil) // its home agrees
	}
}

// takeLosses takes the losses by this server itself, in an earlier life, that waited until all
// peers were compared.
func (s *Server) takeLosses() {
	if len(s.untaken) == 0 || s.stale() {
		return
	}
	for _, r := range s.untaken {
		if o := s.owners[r.Owner]; o != nil && o.Stand.Less(r.Stand) {
			s.mergeStand(o, r.Stand, r.Ended)
			s.show(o, nil)
		}
	}
	s.untaken = nil
}

// contestWithin is how long a loss of an owner with another home is put off.
const contestWithin = time.Second

// putOff reports whether a loss is not taken yet: a server that is there may have heard the owner,
// as the home that this server knows, where another one lost it, as one that names itself as
// the home, or as one of those that did not hear each other lately.
func (s *Server) putOff(o *owner, loss Stand) bool {
	home := o.Stand.Home
	mayContest := home != loss.Home && s.up(home) || !o.claimed.IsZero() && s.now.Sub(o.claimed) < o.TTL || s.apart()
	if home == s.cfg.Self || !mayContest || o.Stand.State == Lost || s.heardHere(o) {
		return false
	}
	if o.putOff.IsZero() || s.now.Sub(o.putOff) > 2*contestWithin {
		o.putOff = s.now
	}
	if s.now.Sub(o.putOff) >= contestWithin {
		return false
	}
	s.again = true
	return true
}

// apart reports whether a server that is up here did not hear another one lately.
func (s *Server) apart() bool {
	for id, p := range s.peers {
		if !p.lacked.IsZero() && s.now.Sub(p.lacked) < s.t.Settle+contestWithin && s.up(id) {
			return true
		}
	}
	return false
}

// relay sends an owner's record to the server that was its home, if that server does not hear the
// present one: it would judge the owner.
func (s *Server) relay(o *owner, was ServerID) {
	is := o.Stand.Home
	if was == is || was == s.cfg.Self || is == s.cfg.Self || o.Stand.State != Live || !s.up(was) || slices.Contains(s.peers[was].tick.Hears, is) {
		return
	}
	s.send(was, Fetched{Records: []Record{{Owner: o.Owner}}})
}

// bid makes the next bid for an owner.
func (s *Server) bid(o *owner, state State) {
	o.revived = o.revived || o.lost()
	s.edit(o, func() {
		o.Stand.Bid++
		o.Stand.State, o.Stand.By = state, s.cfg.Self
		o.Ended = s.now.UnixMilli() // unless it lives
	})
	s.publish(o, nil)
	s.show(o, nil)
}

// become makes this server the home of an owner that it heard. The owner has a full TTL from
// now: other servers may have heard it later.
func (s *Server) become(o *owner) {
	o.revived = o.revived || o.lost()
	if was := s.heard[o.Stand.Home]; was != nil {
		delete(was, o.Owner)
	}
	s.edit(o, func() {
		o.Stand = Stand{Epoch: max(o.Stand.Epoch, o.Version.Epoch), Attach: o.Stand.Attach + 1, State: Live, Home: s.cfg.Self, By: s.cfg.Self}
	})
	o.beat, o.heard = s.living, true
	s.publish(o, nil)
	s.show(o, nil)
}

// renew notes that an owner of this server was heard.
func (s *Server) renew(o *owner) {
	s.hear(o)
	o.beat, o.heard = s.living, true
	if o.Stand.State != Live && !o.Gone {
		s.bid(o, Live)
	}
}

// takeOver replaces homes that do not acknowledge the owners that were heard here.
func (s *Server) takeOver() {
	if s.off.takeover {
		return
	}
	var late []*owner
	for home, owners := range s.heard {
		for id, h := range owners {
			if s.now.Sub(h.since) <= s.t.Takeover {
				continue
			}
			delete(owners, id)
			if o := s.owners[id]; o != nil && o.Stand.Home == home && !o.Gone {
				late = append(late, o)
			}
		}
	}
	slices.SortFunc(late, byID)
	for _, o := range late {
		s.become(o)
	}
}

func byID(a, b *owner) int { return cmp.Compare(a.Owner, b.Owner) }

// judge finds owners that are lost: this server's own, and those of a server that is down.
func (s *Server) judge() {
	s.noteUnheard()
	if s.Minority() && !s.off.freeze {
		s.majority = s.now
		s.fullTTL() // frozen, and a full TTL afterwards: they may have moved
	}
	if s.now.Sub(later(s.together, s.doubting)) > s.t.Forget/2 {
		s.away()
	}
	if s.majority.Equal(s.now) {
		return
	}
	if s.majority.After(s.together) || s.again && !s.learning() {
		s.again = false
		s.compareAll() // the losses that were not taken
	}
	s.takeLosses()
	s.endAnew()
	s.together = s.now
	s.becomeWhole()
	s.expire()
}

// end makes a bid for each of the silent owners: the guard holds some, the others are lost.
func (s *Server) end(silent []*owner) {
	held, until := s.doubted(silent)
	for _, o := range silent {
		if !held[o.Owner] {
			s.bid(o, Lost)
			continue
		}
		s.adoptOrphan(o)
		o.until = s.now.Add(until)
		s.bid(o, Held)
	}
}

// doubted asks the guard about the silent owners. It doubts the silence of an owner once:
// the end of a hold is final.
func (s *Server) doubted(silent []*owner) (held map[skerry.OwnerID]bool, until time.Duration) {
	if s.cfg.Guard == nil {
		return nil, 0
	}
	var ids []skerry.OwnerID
	in := map[*owner]bool{}
	for _, o := range silent {
		in[o] = true
		if o.Stand.Home != s.cfg.Self || o.Stand.State != Held || o.until.IsZero() {
			ids = append(ids, o.Owner)
		}
	}
	if len(ids) == 0 {
		return nil, 0
	}
	list, until := s.cfg.Guard.Hold(ids, append(s.quiet(in), s.poll.quiet...))
	held = map[skerry.OwnerID]bool{}
	for _, id := range list {
		held[id] = true
	}
	return held, until
}

// Release ends the guard's holds of the owners for which among is true: they are silent
// still, and are lost. It decides for this server's owners, and for those whose home is not
// there if this server is in a majority. The homes of the others are asked. left has the
// owners that are still held then: Release is to be called again for them.
func (s *Server) Release(now time.Time, among func(skerry.OwnerID) bool) (lost, left []skerry.OwnerID) {
	s.advance(now)
	defer s.finish()
	at := map[ServerID][]skerry.OwnerID{}
	for id, o := range s.owners {
		if o.attachedAs(Held) && among(id) {
			at[o.Stand.Home] = append(at[o.Stand.Home], id)
		}
	}
	for _, home := range slices.Sorted(maps.Keys(at)) {
		ids := at[home]
		slices.Sort(ids)
		switch {
		case home == s.cfg.Self, !s.up(home) && !s.Minority():
			lost = append(lost, s.release(ids)...)
			continue
		case s.up(home):
			s.send(home, Release{ids})
		}
		left = append(left, ids...)
	}
	slices.Sort(lost)
	slices.Sort(left)
	return lost, left
}

// release takes out owners that the guard holds, in one step.
func (s *Server) release(ids []skerry.OwnerID) (lost []skerry.OwnerID) {
	for _, id := range ids {
		o := s.owners[id]
		if o == nil || !o.attachedAs(Held) {
			continue
		}
		s.adoptOrphan(o)
		s.bid(o, Lost)
		lost = append(lost, id)
	}
	return lost
}

// adoptOrphan makes this server the home of an owner whose home is not there: it is this
// server's to hold and to release.
func (s *Server) adoptOrphan(o *owner) {
	if o.Stand.Home != s.cfg.Self {
		s.edit(o, func() { o.Stand.Attach, o.Stand.Home = o.Stand.Attach+1, s.cfg.Self })
	}
}

// orphaned reports whether an owner whose home is down has had its grace, its TTL at least. It begins anew with
// each message of the home, and when another server names the home: after a cut the word of
// an owner may come before the home's tick. An owner that was heard here is taken over.
func (s *Server) orphaned(o *owner, grace time.Duration) bool {
	since := later(later(s.majority, s.started), o.homed)
	if p := s.peers[o.Stand.Home]; p != nil {
		since = later(later(since, p.unheard), later(later(p.ticked.Add(s.t.Down), p.spoke), p.up))
	}
	if s.heardHere(o) && !s.off.takeover {
		s.become(o)
		return false
	}
	return s.now.Sub(since) > max(o.TTL, grace)
}
