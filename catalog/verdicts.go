package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Whether an owner is alive is judged by the protocol of package cluster. These are its verdicts, and what
// it asks the table for.

// Remove takes out an owner that is lost or that was withdrawn.
func (t *Table) Remove(id skerry.OwnerID, cause skerry.Cause) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	if o == nil {
		return
	}
	if cause == skerry.CauseExpired {
		t.remember(o, t.cfg.Now())
	}
	t.remove(o, cause)
}

// SetHeld shows that the guard holds an owner, or no longer.
func (t *Table) SetHeld(id skerry.OwnerID, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	if o == nil || o.held == held {
		return
	}
	o.held = held
	if held {
		t.guard.held++
	} else {
		t.guard.held--
	}
	t.showGuard(o)
}

// Hold returns those of the silent owners that the guard holds, and for how long. quiet are
// owners that will be silent soon if they failed at the same moment. Owners that are held count
// among the silent, whatever their homes.
func (t *Table) Hold(silent, quiet []skerry.OwnerID) (held []skerry.OwnerID, hold time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	failing := make(map[skerry.OwnerID]bool, len(silent)+len(quiet))
	for _, ids := range [][]skerry.OwnerID{silent, quiet} {
		for _, id := range ids {
			failing[id] = true
		}
	}
	now, known := t.cfg.Now(), map[guardKey]bool{}
	for _, id := range silent {
		if o := t.owners[id]; o != nil && t.doubted(o, now, known, func(o *owner) bool { return failing[o.id] || o.held }) {
			held = append(held, id)
		}
	}
	return held, t.cfg.Guard.Hold
}

// Whole returns the present set of an owner; nil if there is none.
func (t *Table) Whole(id skerry.OwnerID) *skerry.Set {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o := t.owners[id]
	if o == nil {
		return nil
	}
	s := &skerry.Set{Node: o.node, Checks: make([]*skerry.Check, 0, len(o.checks))}
	for _, it := range o.items {
		if it.instance != nil {
			s.Instances = append(s.Instances, it.instance)
		}
	}
	for _, c := range o.checks {
		s.Checks = append(s.Checks, c)
	}
	return s
}
