package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// departures remembers departed owners and instances for a while, so that a late
// announcement does not revive an owner, and an empty answer has a cause.
type departures struct {
	tombs    map[skerry.OwnerID]tombstone
	graves   []grave              // of tombs, oldest first; may hold outdated ones
	services map[string]departure // by folded name
	entries  int                  // of all services
}

type tombstone struct {
	version skerry.Version
	until   time.Time
}

type grave struct {
	id    skerry.OwnerID
	until time.Time
}

// departure remembers the instances that left a service.
type departure struct {
	cause   skerry.Cause // why the service is empty; none while it is not
	entries []skerry.Left
	at      time.Time // of the last
}

const (
	// tombstoneFor is how long a departed owner's version is remembered.
	tombstoneFor = 24 * time.Hour
	// maxTombstones bounds the memory that a client with made-up owners can use.
	maxTombstones = 100_000
	// maxDepartures bounds the remembered services; beyond it the cause of an empty
	// answer is "unknown".
	maxDepartures = 20_000
	// maxLeft and maxLeftOf bound the remembered instances, in all and of one service;
	// beyond them the cause of an answer that a query made empty is "filtered".
	maxLeft   = 20_000
	maxLeftOf = 16
)

func newDepartures() departures {
	return departures{
		tombs:    map[skerry.OwnerID]tombstone{},
		services: map[string]departure{},
	}
}

func (d *departures) bury(o *owner, now time.Time) {
	until := now.Add(tombstoneFor)
	d.tombs[o.id] = tombstone{version: o.version, until: until}
	d.graves = append(d.graves, grave{o.id, until})
	for len(d.tombs) > maxTombstones {
		d.openGrave()
	}
}

// openGrave forgets the oldest.
func (d *departures) openGrave() {
	g := d.graves[0]
	d.graves = d.graves[1:]
	if d.tombs[g.id].until.Equal(g.until) {
		delete(d.tombs, g.id)
	}
}

// refuses reports whether an announcement of this version comes too late.
func (d *departures) refuses(id skerry.OwnerID, v skerry.Version, now time.Time) bool {
	tomb, ok := d.tombs[id]
	if !ok || !now.Before(tomb.until) {
		return false
	}
	return !tomb.version.Less(v)
}

// left notes that a service is empty.
func (d *departures) left(service string, cause skerry.Cause, now time.Time) {
	gone, known := d.services[service]
	if known || len(d.services) < maxDepartures {
		gone.cause, gone.at = cause, now
		d.services[service] = gone
	}
}

// returned notes that a service has instances.
func (d *departures) returned(service string) {
	gone, known := d.services[service]
	switch {
	case known && len(gone.entries) == 0:
		delete(d.services, service)
	case known:
		gone.cause = skerry.CauseNone
		d.services[service] = gone
	}
}

// leave notes that an instance left a service or was replaced. Views hold the list, so
// it is replaced and never written into.
func (d *departures) leave(service string, l skerry.Left, now time.Time) {
	gone, known := d.services[service]
	if !known && len(d.services) >= maxDepartures || d.entries >= maxLeft && len(gone.entries) == 0 {
		return
	}
	keep := gone.entries
	if len(keep) >= maxLeftOf || d.entries >= maxLeft {
		keep = keep[1:]
	} else {
		d.entries++
	}
	entries := make([]skerry.Left, 0, len(keep)+1)
	gone.entries, gone.at = append(append(entries, keep...), l), now
	d.services[service] = gone
}

// sweep forgets everything older than tombstoneFor.
func (d *departures) sweep(now time.Time) {
	for len(d.graves) > 0 && !now.Before(d.graves[0].until) {
		d.openGrave()
	}
	for name, gone := range d.services {
		if now.Sub(gone.at) > tombstoneFor {
			d.entries -= len(gone.entries)
			delete(d.services, name)
		}
	}
}

// sweepEvery is the time between two sweeps.
const sweepEvery = time.Minute

// Tick lets the table forget departures and losses of long ago. It is to be called several times a
// minute.
func (t *Table) Tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.cfg.Now()
	if now.Sub(t.swept) > sweepEvery {
		t.swept = now
		t.departed.sweep(now)
		t.guard.sweep(now.Add(-t.cfg.Guard.Window))
	}
}
