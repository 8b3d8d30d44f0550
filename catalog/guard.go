package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Guard configures when silent owners are held. Independent failures do not silence most
// owners of a service at the same time; a broken network or a broken registry does.
// The zero value of a field means its default.
type Guard struct {
	// Share of a service's leased owners (in all, or in one zone) that may be
	// silent at once before their expiry is held; default 0.5. 1 turns the guard off.
	Share float64
	// Least is the smallest number of silent owners; default 3.
	Least int
	// Window is how long a lost owner counts among the silent; default 30 s.
	Window time.Duration
	// Hold is how long owners are held before they expire after all; default 10 min.
	Hold time.Duration
}

func (g Guard) withDefaults() Guard {
	if g.Share == 0 {
		g.Share = 0.5
	}
	if g.Least == 0 {
		g.Least = 3
	}
	if g.Window == 0 {
		g.Window = 30 * time.Second
	}
	if g.Hold == 0 {
		g.Hold = 10 * time.Minute
	}
	return g
}

// guardState is the number of held owners and the losses within the window.
type guardState struct {
	held   int
	recent map[guardKey][]loss // oldest first
}

type loss struct {
	owner skerry.OwnerID
	at    time.Time
}

// guardKey is a service, in all or in one zone, for which failures are counted.
type guardKey struct{ service, zone string }

// keysOf returns the keys that an owner's loss counts for, each once however many
// instances of a service it has.
func keysOf(o *owner) map[guardKey]bool {
	keys := map[guardKey]bool{}
	for _, it := range o.items {
		if it.instance == nil {
			continue
		}
		service := skerry.Fold(it.instance.Service)
		keys[guardKey{service: service}] = true
		if l := o.node.Locality; l != nil && l.Zone != "" {
			keys[guardKey{service, l.Zone}] = true
		}
	}
	return keys
}

// doubted reports whether more owners of one of an owner's keys are silent than
// independent failures explain. known has the verdicts so far.
func (t *Table) doubted(o *owner, now time.Time, known map[guardKey]bool, silent func(*owner) bool) bool {
	for key := range keysOf(o) {
		verdict, ok := known[key]
		if !ok {
			verdict = t.tooMany(key, now, silent)
			known[key] = verdict
		}
		if verdict {
			return true
		}
	}
	return false
}

// tooMany reports whether more owners of key are silent than independent failures
// explain. An owner beats every third of its TTL, so one that failed at the same
// moment as the first to expire has been silent for two thirds of it.
func (t *Table) tooMany(key guardKey, now time.Time, isSilent func(*owner) bool) bool {
	s := t.services[key.service]
	if s == nil {
		return false
	}
	t.guard.forget(key, now.Add(-t.cfg.Guard.Window))
	silent := 0
	for _, l := range t.guard.recent[key] {
		if t.owners[l.owner] == nil { // it has not come back
			silent++
		}
	}
	total := silent
	seen := map[*owner]bool{}
	for _, it := range s.items {
		o := it.owner
		if !o.leased || seen[o] || key.zone != "" && (o.node.Locality == nil || o.node.Locality.Zone != key.zone) {
			continue
		}
		seen[o] = true
		total++
		if isSilent(o) {
			silent++
		}
	}
	return silent >= t.cfg.Guard.Least && float64(silent) > t.cfg.Guard.Share*float64(total)
}

func (g *guardState) forget(key guardKey, before time.Time) {
	losses := g.recent[key]
	for len(losses) > 0 && losses[0].at.Before(before) {
		losses = losses[1:]
	}
	if len(losses) == 0 {
		delete(g.recent, key)
		return
	}
	g.recent[key] = losses
}

func (g *guardState) sweep(before time.Time) {
	for key := range g.recent {
		g.forget(key, before)
	}
}

func (t *Table) remember(o *owner, now time.Time) {
	if t.guard.recent == nil {
		t.guard.recent = map[guardKey][]loss{}
	}
	for key := range keysOf(o) {
		t.guard.forget(key, now.Add(-t.cfg.Guard.Window))
		t.guard.recent[key] = append(t.guard.recent[key], loss{o.id, now})
	}
}

// showGuard marks the owner's services as changed, so that readers and watchers
// see that it is held, or no longer.
func (t *Table) showGuard(o *owner) {
	c := &change{t: t, o: o}
	for _, it := range o.items {
		if it.listed {
			t.touchService(it.instance.Service, c.stamp())
		}
	}
}

// Held returns how many owners the guard holds.
func (t *Table) Held() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.guard.held
}
