package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// check holds the invariants of a moment. The numbers are those of the protocol's document.
func (w *world) check(heal time.Time) error {
	for _, s := range w.servers {
		if !s.up || s.paused {
			continue
		}
		if err := w.forward(s); err != nil {
			return err
		}
	}
	for _, o := range w.owners {
		if err := w.held(o); err != nil {
			return err
		}
		if err := w.atHome(o); err != nil {
			return err
		}
	}
	w.noteUps()
	if err := w.restored(); err != nil {
		return err
	}
	if since := w.now.Sub(heal); since >= 0 {
		return w.healed(since)
	}
	return nil
}

// forward reports a stand or version that goes back (I3), an owner that is forgotten too
// early, and one that is shown after its withdrawal (I4).
func (w *world) forward(s *server) error {
	if w.now.Sub(s.together) > Forget/2 || !s.away.IsZero() && !s.core.Whole() {
		s.away = w.now // it doubts what it knows, until it is whole again
	}
	if !s.core.Minority() {
		s.together = w.now
	}
	for _, o := range w.owners {
		r, known := s.core.Record(o.id)
		was, was0 := s.records[o.id], s.withdrawn[o.id]
		if r.Gone {
			s.withdrawn[o.id] = r.Version
		}
		v, shown := s.core.Shows(o.id)
		if r != was {
			s.records[o.id] = r
		}
		back := known && (r.Stand.Less(was.Stand) || r.Version.Less(was.Version))
		forgotten := !known && was.Owner != "" && (was.Ended != 0 || !o.gone && !o.crashed)
		switch {
		case shown && !was0.Less(v) && was0 != skerry.Version{}:
			return fmt.Errorf("%s shows %v of %s, whose withdrawal was %v", s.id, v, o.id, was0)
		case !back && !forgotten:
		case w.now.Sub(s.away) < Forget, w.silence(o) > Forget-2*Forget/24: // it may have been forgotten, and learned again
		case was.Ended != 0 && w.now.UnixMilli()-was.Ended > (Forget-2*Forget/24).Milliseconds(): // it may be forgotten
		case back:
			return fmt.Errorf("%s goes back at %s, from %+v to %+v", o.id, s.id, was, r)
		default:
			return fmt.Errorf("%s forgets %+v", s.id, was)
		}
	}
	return nil
}

// silence returns for how long no server in a majority heard an owner.
func (w *world) silence(o *owner) time.Duration {
	for _, k := range slices.Backward(o.oks) {
		if k.counts {
			return w.now.Sub(k.at)
		}
	}
	return w.now.Sub(w.began)
}

// atHome reports an owner that its home heard and does not show (I1).
func (w *world) atHome(o *owner) error {
	if len(o.oks) == 0 || o.gone || o.crashed || !o.settled() {
		return nil
	}
	last := o.oks[len(o.oks)-1]
	s := w.server(string(last.from))
	if !last.has || !s.up || s.paused || w.now.Sub(last.at) > TTL*2/3 || s.core.Stand(o.id).Home != s.id || !s.started.Before(last.at.Add(-time.Second)) {
		return nil
	}
	if _, shown := s.core.Shows(o.id); !shown {
		return fmt.Errorf("%s was heard by its home %s, which does not show it: %+v", o.id, s.id, s.core.Stand(o.id))
	}
	return nil
}

// doubting is the longest time after the last fault in which a server may not be whole.
const doubting = 13 * time.Second

// healed holds the invariants of the time after the last fault.
func (w *world) healed(since time.Duration) error {
	for _, s := range w.servers {
		switch {
		case s.core.Whole():
		case since > doubting:
			return fmt.Errorf("%v after the last fault %s is not whole", since, s.id)
		default:
			w.doubted = since // no server judges while it doubts
		}
	}
	for _, o := range w.owners {
		lives := !o.crashed && !o.gone && o.settled()
		behind := w.behind(o) && since < w.cfg.Within+TTL
		if behind || o.crashed && since < TTL+2*grace { // it is in no server's set, or about to be lost
			w.equalAt = w.now
		}
		if !lives || o.version != o.steady || behind {
			o.steady, o.since = o.version, w.now
		}
		for _, s := range w.servers {
			v, shown := s.core.Shows(o.id)
			switch {
			case lives && (!shown || v != o.version) && since > max(w.cfg.Within, w.doubted+w.cfg.Within/2) && w.now.Sub(o.since) > time.Second: // I10
				return fmt.Errorf("%v after the last fault %s lives at %v, and %s does not show it: %s", since, o.id, o.version, s.id, w.states(o))
			case shown && (o.gone || o.crashed) && since > w.doubted+TTL+2*grace: // I11
				return fmt.Errorf("%v after the last fault %s is gone (withdrawn %v), and %s shows it: %+v", since, o.id, o.gone, s.id, s.core.Stand(o.id))
			}
		}
	}
	if w.equal() { // I9
		w.equalAt = w.now
	}
	if w.now.Sub(w.equalAt) > 2*time.Second && since > w.cfg.Within+2*time.Second {
		a, b := w.unequal()
		return fmt.Errorf("%v after the last fault %s and %s differ: %s", since, a.id, b.id, w.difference(a.core, b.core))
	}
	if w.diverged > 0 && since > 20*time.Second { // I13
		return fmt.Errorf("%v after the last fault servers diverge", since)
	}
	w.diverged = 0
	return nil
}

// behind reports whether a server knows an owner from a time when its clock was ahead, and
// the owner does not know yet.
func (w *world) behind(o *owner) bool {
	for _, s := range w.servers {
		if v, _ := s.core.Shows(o.id); o.version.Less(v) {
			return true
		}
	}
	return false
}

// states is what each server knows of an owner.
func (w *world) states(o *owner) (text string) {
	for _, s := range w.servers {
		v, shown := s.core.Shows(o.id)
		text += fmt.Sprintf(" [%s %v %v %+v]", s.id, v, shown, s.core.Stand(o.id))
	}
	return text
}

func (w *world) equal() bool { a, _ := w.unequal(); return a == nil }

func (w *world) unequal() (a, b *server) {
	for _, s := range w.servers[1:] {
		if s.core.Sum() != w.servers[0].core.Sum() {
			return w.servers[0], s
		}
	}
	return nil, nil
}

// quiet reports messages that nothing has caused (I12). It is called when nothing has
// changed for long.
func (w *world) quiet(m cluster.Message) error {
	switch m.(type) {
	case cluster.Tick, cluster.Heard, cluster.HeardOK, cluster.Ask, cluster.Sums, cluster.Want, cluster.Owned: // servers forget one before the other
		return nil
	}
	return fmt.Errorf("nothing has changed, and a %T is sent: %+v", m, m)
}

// rightful reports a loss that a server was not entitled to find (I5).
func (w *world) rightful(s *server, m cluster.Message) error {
	l, is := m.(cluster.Log)
	if !is {
		return nil
	}
	for _, r := range l.Records {
		if r.Stand.State != cluster.Lost || r.Stand.By != s.id || r.Stand.Home == s.id || r.Stand == s.records[r.Owner].Stand {
			continue
		}
		for _, other := range w.servers {
			if s.core.Minority() || s.core.Up(r.Stand.Home) || other.id < s.id && s.core.Up(other.id) {
				return fmt.Errorf("%s is not to judge %s: %+v", s.id, r.Owner, r.Stand)
			}
		}
	}
	return nil
}

// held reports an owner that a server takes out of its catalog although another server, up
// to it, hears the owner; or although it is in a minority.
func (w *world) held(o *owner) error {
	last := ok{}
	if len(o.oks) > 0 {
		last = o.oks[len(o.oks)-1]
	}
	told := false // it was heard so long ago that the others may know
	for _, k := range slices.Backward(o.oks) {
		age := w.now.Sub(k.at)
		if told = k.from == last.from && age >= 3*time.Second && age < TTL; told || age >= TTL {
			break
		}
	}
	home := w.server(string(last.from))
	fresh := told && home != nil && home.up && !home.paused && w.now.After(w.lossy) && !o.crashed && !o.gone && o.settled() &&
		w.now.Sub(last.at) < TTL/3+500*time.Millisecond && home.started.Before(last.at.Add(-600*time.Millisecond)) && !home.core.Minority()
	for _, s := range w.servers {
		if !s.up || s.paused {
			continue
		}
		_, shown := s.core.Shows(o.id)
		was := s.showed[o.id]
		if shown != was {
			s.showed[o.id] = shown
		}
		if was && !shown && fresh && (s.core.Minority() || s.ups[home.id]) && (s.resumed.IsZero() || w.now.Sub(s.resumed) > time.Second) {
			return fmt.Errorf("%s is heard by %s, and %s (minority %v) takes it out: %+v", o.id, home.id, s.id, s.core.Minority(), s.core.Stand(o.id))
		}
	}
	return nil
}

// noteUps notes which servers are up with each other: a record of one comes to the other in the
// next step at the earliest.
func (w *world) noteUps() {
	for _, s := range w.servers {
		for _, other := range w.servers {
			if up := s.core.Up(other.id); up != s.ups[other.id] {
				s.ups[other.id] = up
			}
		}
	}
}

// final holds the invariants of the end: all servers know the same, and the right.
func (w *world) final() error {
	for _, o := range w.owners {
		if !o.crashed && !o.settled() {
			return fmt.Errorf("%s is not settled", o.id)
		}
	}
	if a, b := w.unequal(); a != nil && w.now.Sub(w.equalAt) > 2*time.Second {
		return fmt.Errorf("%s and %s differ: %s", a.id, b.id, w.difference(a.core, b.core))
	}
	return nil
}

func (w *world) difference(a, b *cluster.Server) string {
	for _, o := range w.owners {
		va, sa := a.Shows(o.id)
		vb, sb := b.Shows(o.id)
		ra, _ := a.Record(o.id)
		rb, _ := b.Record(o.id)
		if va != vb || sa != sb || ra.Stand.Compare(rb.Stand) != 0 || ra.Ended != rb.Ended {
			return fmt.Sprintf("%s: %v %+v, and %v %+v", o.id, sa, ra, sb, rb)
		}
	}
	return "in nothing that is seen"
}
