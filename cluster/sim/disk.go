package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// stored is a lease on a server's disk.
type stored struct {
	cluster.Record
	lost bool // it is kept no longer than this life of the server
}

// keep writes a lease that was put through a server to its disk, or takes a withdrawn one off.
func (s *server) keep(r cluster.Record) {
	if r.Gone {
		delete(s.disk, r.Owner)
		return
	}
	s.disk[r.Owner] = &stored{Record: r}
}

// heed keeps a server's disk as its catalog is.
func (s *server) heed(c cluster.Change) {
	kept := s.disk[c.Owner]
	switch {
	case kept == nil:
	case c.Show:
		kept.lost = false
	case c.Cause == skerry.CauseDeregistered:
		delete(s.disk, c.Owner)
	default:
		kept.lost = true
	}
}

// restore gives a server that starts what it has on its disk.
func (w *world) restore(s *server) {
	for _, id := range slices.Sorted(maps.Keys(s.disk)) {
		if s.disk[id].lost || w.now.Sub(s.majority) > Forget/2 {
			delete(s.disk, id)
			continue
		}
		s.core.Restore(w.at(s), s.disk[id].Record)
	}
}

// restartAll kills all servers at once. They start within two seconds.
func (w *world) restartAll() {
	w.tracef("kill all")
	w.must = map[skerry.OwnerID]bool{}
	for _, o := range w.owners {
		for _, s := range w.servers {
			if kept := s.disk[o.id]; kept != nil && !kept.lost && w.now.Sub(s.majority) < Forget/3 {
				w.must[o.id] = true
			}
		}
	}
	w.rebooted = w.now
	for _, s := range w.servers {
		s.up, s.again = false, w.now.Add(time.Duration(1+w.r.IntN(20))*Step)
		w.rebooted = later(w.rebooted, s.again)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// restarts starts the servers whose time has come.
func (w *world) restarts() {
	for _, s := range w.servers {
		if !s.up && s.again.Equal(w.now) {
			w.start(s)
		}
	}
}

// restored reports a living lease that a restart of all servers has lost: it was on a disk,
// and no server shows it.
func (w *world) restored() error {
	if w.must == nil || w.now.Before(w.rebooted) {
		return nil
	}
	if w.now.Sub(w.rebooted) > TTL/2 {
		w.must = nil
		return nil
	}
	for _, s := range w.servers {
		if !s.up || s.paused {
			w.must = nil // another fault
			return nil
		}
	}
	for _, o := range w.owners {
		if !w.must[o.id] || o.gone || o.crashed {
			continue
		}
		shown := false
		for _, s := range w.servers {
			_, is := s.core.Shows(o.id)
			shown = shown || is
		}
		if !shown {
			return fmt.Errorf("all servers were restarted, and none shows %s: %+v", o.id, w.servers[0].core.Stand(o.id))
		}
	}
	return nil
}
