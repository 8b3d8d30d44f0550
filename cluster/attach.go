package cluster

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Attach makes this server the home of an owner, unless it knows of a later attachment.
func (s *Server) Attach(now time.Time, a Attach) Attached {
	s.advance(now)
	defer s.finish()
	o := s.get(&Record{Owner: a.Owner, Kind: a.Kind, TTL: a.TTL})
	s.hear(o)
	s.describe(o, a.Kind, a.TTL)
	stand := Stand{Epoch: a.Version.Epoch, Attach: a.Attach, State: Live, Home: s.cfg.Self, By: s.cfg.Self}
	if a.Version.Epoch < o.Version.Epoch || !s.off.attach && !o.Stand.Less(stand) {
		known := o.Version
		known.Epoch = max(known.Epoch, o.Stand.Epoch)
		return Attached{Owner: a.Owner, Attach: a.Attach, Known: known, KnownAttach: o.Stand.Attach}
	}
	s.edit(o, func() { o.Stand = stand })
	o.beat, o.here, o.heard = s.living, s.now, true
	s.publish(o, nil)
	s.show(o, nil)
	return Attached{Owner: a.Owner, Attach: a.Attach, OK: true, Want: !o.holds(a.Version, a.Digest), Owners: len(s.homes[s.cfg.Self]), Minority: s.Minority()}
}

// Attached returns the agents whose home this server is, in no order.
func (s *Server) Attached() (ids []skerry.OwnerID) {
	for _, o := range s.homes[s.cfg.Self] {
		if o.Kind == skerry.AgentOwner {
			ids = append(ids, o.Owner)
		}
	}
	return ids
}

// holds reports whether the set of a version is there.
func (o *owner) holds(v skerry.Version, digest uint64) bool {
	return o.Version == v && o.Digest == digest && (o.has || o.Gone)
}

// Announce takes a change of an owner that is attached. Of one that is not it keeps no more than
// its withdrawal: the next beat is told to attach again.
func (s *Server) Announce(now time.Time, a Announce) Told {
	s.advance(now)
	defer s.finish()
	if !a.Gone && !s.Stand(a.Owner).attached() {
		return Told{Owner: a.Owner}
	}
	o := s.get(&a.Record)
	s.hear(o)
	want := !s.take(o, &a.Record)
	return Told{Owner: a.Owner, Version: o.Version, Want: want}
}

// take applies an owner's own word. It reports false if the whole set is wanted.
func (s *Server) take(o *owner, r *Record) bool {
	newer := o.Version.Less(r.Version) || o.Version == r.Version && !o.has && !o.Gone
	if !newer {
		return o.holds(r.Version, r.Digest) || r.Version.Less(o.Version)
	}
	if !r.Gone && r.Set == nil && (r.Delta == nil || !o.has || r.Base != o.Version) {
		return false
	}
	s.edit(o, func() {
		o.Version, o.Digest, o.Gone, o.has = r.Version, r.Digest, r.Gone, !r.Gone
		if r.Gone {
			o.Ended = s.now.UnixMilli()
		}
	})
	if r.Gone {
		if r = nil; s.Minority() {
			s.aside = append(s.aside, o)
		}
	}
	s.publish(o, r)
	s.show(o, r)
	return true
}

// Beat notes that an owner that is attached here lives.
func (s *Server) Beat(now time.Time, b Beat) Beaten {
	s.advance(now)
	defer s.finish()
	o := s.owners[b.Owner]
	if o == nil || o.Stand.Home != s.cfg.Self || o.Stand.Epoch != b.Epoch || o.Stand.Attach != b.Attach {
		return Beaten{Owner: b.Owner, Reattach: true}
	}
	s.renew(o)
	o.here = s.now
	return Beaten{Owner: b.Owner, OK: true, Want: !o.has && !o.Gone || o.Digest != b.Digest, Minority: s.Minority()}
}

// PutLease takes the whole set, or the withdrawal, of an owner whose messages may land at
// any server.
func (s *Server) PutLease(now time.Time, r Record) Told {
	s.advance(now)
	defer s.finish()
	o := s.get(&r)
	s.hear(o)
	s.describe(o, r.Kind, r.TTL)
	ok := s.take(o, &r)
	if !o.Gone && !r.Gone {
		s.hearLease(o)
	}
	return o.told(!ok || !o.holds(r.Version, r.Digest))
}

// Restore takes a lease from this server's own disk after a restart, with its old content.
// Content that is no newer than the known version is dropped. An owner without a stand
// becomes this server's, with the least stand of its epoch: the stand of any other server
// wins. Restore is not for a server that was away for more than half of Timing.Forget (see
// [Server.Together]): the owner may have ended, and be forgotten.
func (s *Server) Restore(now time.Time, r Record) {
	s.advance(now)
	defer s.finish()
	o := s.get(&r)
	s.trust(o)
	if !o.Version.Less(r.Version) || r.Set == nil {
		return
	}
	s.describe(o, r.Kind, r.TTL)
	s.edit(o, func() {
		o.Version, o.Digest, o.Gone, o.has = r.Version, r.Digest, false, !o.lost()
		if !o.Stand.attached() {
			o.Stand = Stand{Epoch: r.Version.Epoch, Attach: 1, State: Live, Home: s.cfg.Self, By: s.cfg.Self}
			o.beat, o.heard = s.living, false
		}
	})
	s.publish(o, &r)
	if o.has {
		s.show(o, &r)
	}
}

// BeatLease notes that such an owner lives and has the set with this digest.
func (s *Server) BeatLease(now time.Time, id skerry.OwnerID, digest uint64) Told {
	s.advance(now)
	defer s.finish()
	o := s.owners[id]
	switch {
	case o == nil:
		s.noteStranger(id)
		return Told{Owner: id, Want: true}
	case o.Gone || !o.Stand.attached() && o.Version == (skerry.Version{}):
		return Told{Owner: id, Want: true}
	}
	s.hearLease(o)
	return o.told(!o.has || o.Digest != digest)
}

// told answers an owner without an attachment. A lease whose version is behind one that another
// server knows has to go above it: that server shows no other. The clock was ahead when the
// greater version was made, and its set is lost.
func (o *owner) told(want bool) Told {
	t := Told{Owner: o.Owner, Version: o.Version, Want: want}
	if o.Kind == skerry.LeaseOwner && o.Version.Less(o.above) {
		t.Version, t.Want = o.above, true
	}
	return t
}

// maxStrangers bounds the owners that are noted before they are known.
const maxStrangers = 1 << 12

// noteStranger notes that an owner was heard that this server does not know yet, as after a
// restart: another server may be its home.
func (s *Server) noteStranger(id skerry.OwnerID) {
	if len(s.strangers) >= maxStrangers {
		clear(s.strangers)
	}
	s.strangers[id] = s.now
}

// hearLease notes an owner that was heard here. Its home gets a message, or is replaced.
func (s *Server) hearLease(o *owner) {
	s.hear(o)
	o.here = s.now
	switch home := o.Stand.Home; {
	case o.Stand.Epoch < o.Version.Epoch: // a stand is never of an older epoch than the content
		s.become(o)
	case home == s.cfg.Self && o.Stand.attached():
		s.renew(o)
	case !o.Stand.attached(), o.Stand.State == Lost, !s.up(home) && !s.off.takeover:
		s.become(o)
	default:
		s.tellHome(o)
	}
}

// hearing is an owner that was heard here and has another home.
type hearing struct {
	since time.Time // of the first beat that the home has not acknowledged
	last  time.Time // of the last one
	n     uint64    // the first Heard that has the last one
}

// tellHome notes that the owner's home has to know that it was heard here.
func (s *Server) tellHome(o *owner) {
	at := s.heard[o.Stand.Home]
	if at == nil {
		at = map[skerry.OwnerID]hearing{}
		s.heard[o.Stand.Home] = at
	}
	h, noted := at[o.Owner]
	if !noted {
		h.since = s.now
	}
	h.last, h.n = s.now, s.batch+1
	at[o.Owner] = h
}

// acknowledged notes what a home has counted. A beat that came after that message was sent is
// still to be told.
func (s *Server) acknowledged(home ServerID, m HeardOK) {
	at := s.heard[home]
	for _, id := range m.Owners {
		switch h, noted := at[id]; {
		case !noted:
		case m.N >= h.n:
			delete(at, id)
		default:
			h.since = h.last
			at[id] = h
		}
	}
}
