package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// departures remembers who left, for a while: so that a late announcement does
// not revive a departed owner, and an empty answer can say why it is empty.
type departures struct {
	tombs    map[skerry.OwnerID]tombstone
	graves   []grave              // of tombs, oldest first; may hold ones that are gone
	services map[string]departure // by folded name
	cause    skerry.Cause         // of the change that is being applied
}

type tombstone struct {
	version skerry.Version
	until   time.Time
	// lost: the owner did not withdraw and may come back as it was.
	lost bool
}

type grave struct {
	id    skerry.OwnerID
	until time.Time
}

type departure struct {
	cause skerry.Cause
	at    time.Time
}

const (
	// tombstoneFor is how long a departed owner's version is remembered.
	tombstoneFor = 24 * time.Hour
	// maxTombstones bounds what a client that makes up owners can make us keep.
	maxTombstones = 100_000
	// maxDepartures bounds what is remembered of services that are gone; past it the
	// cause of an empty answer is "unknown".
	maxDepartures = 20_000
)

func newDepartures() departures {
	return departures{
		tombs:    map[skerry.OwnerID]tombstone{},
		services: map[string]departure{},
		cause:    skerry.CauseDeregistered,
	}
}

func (d *departures) bury(o *owner, lost bool, now time.Time) {
	until := now.Add(tombstoneFor)
	d.tombs[o.id] = tombstone{version: o.version, until: until, lost: lost}
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
	return v.Less(tomb.version) || v == tomb.version && !tomb.lost
}

func (d *departures) left(service string, now time.Time) {
	if len(d.services) < maxDepartures {
		d.services[service] = departure{cause: d.cause, at: now}
	}
}

func (d *departures) returned(service string) { delete(d.services, service) }

// sweep forgets what is older than a tombstone lasts.
func (d *departures) sweep(now time.Time) {
	for len(d.graves) > 0 && !now.Before(d.graves[0].until) {
		d.openGrave()
	}
	for name, gone := range d.services {
		if now.Sub(gone.at) > tombstoneFor {
			delete(d.services, name)
		}
	}
}
