package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// send puts a message on its way, unless it is lost.
func (w *world) send(from, to string, m cluster.Message) {
	pair := [2]string{from, to}
	if w.cut[pair] || w.r.Float64() < w.drop {
		return
	}
	at := w.now.Add(Step + time.Duration(w.r.IntN(3))*Step)
	if w.last[pair].After(at) {
		at = w.last[pair]
	}
	w.last[pair] = at
	w.flying = append(w.flying, flight{w.now, at, from, to, m})
}

func (w *world) deliver() error {
	rest, due := w.flying[:0], w.due[:0]
	for _, f := range w.flying {
		if f.at.After(w.now) {
			rest = append(rest, f)
		} else {
			due = append(due, f)
		}
	}
	w.flying, w.due = rest, due
	for _, f := range due {
		if w.cut[[2]string{f.from, f.to}] {
			continue
		}
		if o := w.owner(f.to); o != nil {
			if w.now.Before(o.stalled) {
				f.at = w.now.Add(Step)
				w.flying = append(w.flying, f)
				continue
			}
			w.toOwner(o, cluster.ServerID(f.from), f.m)
			continue
		}
		s := w.server(f.to)
		switch {
		case !s.up:
		case s.paused && w.now.Sub(f.sent) > Forget/2: // its connection is closed
		case s.paused: // it waits in the socket
			f.at = w.now.Add(Step)
			w.flying = append(w.flying, f)
		default:
			if err := w.toServer(s, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// at is the time on a server's clock.
func (w *world) at(s *server) time.Time { return w.now.Add(s.skew) }

// toServer hands a message to a server, as the link and the bus do. Now and then it comes
// twice, which must change nothing (I8).
func (w *world) toServer(s *server, f flight) error {
	w.step(s, f)
	if w.r.IntN(50) != 0 {
		return nil
	}
	sum := s.core.Sum()
	w.step(s, f)
	if s.core.Sum() != sum {
		return fmt.Errorf("%T from %s changes %s when it comes again: %+v", f.m, f.from, s.id, f.m)
	}
	return nil
}

func (w *world) step(s *server, f flight) {
	w.traceStep(s, f)
	back := func(m cluster.Message) { w.send(string(s.id), f.from, m) }
	now := w.at(s)
	switch m := f.m.(type) {
	case cluster.Attach:
		back(s.core.Attach(now, m))
	case cluster.Announce:
		back(s.core.Announce(now, m))
	case cluster.Beat:
		b := s.core.Beat(now, m)
		if b.OK {
			w.heard(m.Owner, s.id, !b.Want)
		}
		back(b)
	case leasePut:
		told := s.core.PutLease(now, m.Record)
		if told.Version == m.Version && !told.Want {
			s.keep(m.Record)
		}
		w.heard(m.Owner, s.id, !told.Want)
		back(told)
	case leaseBeat:
		told := s.core.BeatLease(now, m.Owner, m.Digest)
		w.heard(m.Owner, s.id, !told.Want)
		back(told)
	default:
		s.core.Step(now, cluster.ServerID(f.from), f.m)
	}
}

// leasePut and leaseBeat are what a client without an agent sends. They are Announce and
// Beat on their way to the other methods.
type (
	leasePut  struct{ cluster.Announce }
	leaseBeat struct{ cluster.Beat }
)

// flush sends a server's messages and applies its changes to its catalog.
func (w *world) flush(s *server) error {
	ready := s.core.Ready()
	for _, c := range ready.Changes {
		s.heed(c)
		if err := s.apply(c); err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
	}
	for _, o := range w.owners {
		if v, shown := s.core.Shows(o.id); shown != (s.shows[o.id] != skerry.Version{}) || shown && v != s.shows[o.id] {
			return fmt.Errorf("%s: the catalog of %s has %v, the core shows %v %v", s.id, o.id, s.shows[o.id], v, shown)
		}
	}
	w.diverged += ready.Diverged
	for _, e := range ready.Send {
		if err := w.rightful(s, e.Message); err != nil && e.To == "" {
			return err
		}
		if w.now.Sub(w.began) > w.cfg.Faults+settle-8*time.Second {
			if err := w.quiet(e.Message); err != nil {
				return fmt.Errorf("%s: %w", s.id, err)
			}
		}
		for _, m := range s.parts(e.Message) {
			for _, to := range w.servers {
				if to != s && (e.To == "" || e.To == to.id) {
					w.send(string(s.id), string(to.id), m)
				}
			}
		}
	}
	return nil
}

// apply changes the server's catalog as a real one is changed: it takes a whole set, or a
// delta on top of the version that it has.
func (s *server) apply(c cluster.Change) error {
	has := s.shows[c.Owner]
	switch {
	case !c.Show:
		delete(s.shows, c.Owner)
		return nil
	case c.Set != nil && c.Set.Node.Meta["version"] != fmt.Sprint(c.Version):
		return fmt.Errorf("the set of %s is that of %s, announced as %v", c.Owner, c.Set.Node.Meta["version"], c.Version)
	case c.Set == nil && c.Delta != nil && has != c.Base:
		return fmt.Errorf("a delta of %s on top of %v meets %v", c.Owner, c.Base, has)
	case c.Set == nil && c.Delta == nil && has != c.Version:
		return fmt.Errorf("%s is to be shown as %v without a set, and %v is there", c.Owner, c.Version, has)
	}
	s.shows[c.Owner] = c.Version
	return nil
}

// parts puts the sets in that a message asks for, and splits it as the surroundings do.
func (s *server) parts(m cluster.Message) (out []cluster.Message) {
	if l, is := m.(cluster.Log); is {
		l.Records = s.filled(l.Records)
		return []cluster.Message{l}
	}
	f, is := m.(cluster.Fetched)
	if !is || len(f.Records) == 0 {
		return []cluster.Message{m}
	}
	const size = 3
	for part := range slices.Chunk(f.Records, size) {
		out = append(out, cluster.Fetched{Records: s.filled(part), Repair: f.Repair, Part: len(out), Parts: (len(f.Records) + size - 1) / size})
	}
	return out
}

func (s *server) filled(records []cluster.Record) []cluster.Record {
	records = slices.Clone(records)
	for i, r := range records {
		if r.Attach {
			records[i].Set, records[i].Attach = setOf(s.shows[r.Owner]), false
		}
	}
	return records
}
