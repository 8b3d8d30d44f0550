package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// departures remembers who left, for a while: so that a late announcement does
// not revive a withdrawn owner, and an empty answer can say why it is empty.
type departures struct {
	tombs    map[skerry.OwnerID]tombstone
	services map[string]departure
	cause    skerry.Cause // of the change that is being applied
}

type tombstone struct {
	version skerry.Version
	until   time.Time
}

type departure struct {
	cause skerry.Cause
	at    time.Time
}

// maxDepartures bounds what is remembered of services that are gone; past it the
// cause of an empty answer is "unknown".
const maxDepartures = 20_000

func newDepartures() departures {
	return departures{
		tombs:    map[skerry.OwnerID]tombstone{},
		services: map[string]departure{},
		cause:    skerry.CauseDeregistered,
	}
}

func (d *departures) left(service string, now time.Time) {
	if len(d.services) < maxDepartures {
		d.services[service] = departure{cause: d.cause, at: now}
	}
}

func (d *departures) returned(service string) { delete(d.services, service) }

// sweep forgets what is older than a tombstone lasts.
func (d *departures) sweep(now time.Time) {
	for id, tomb := range d.tombs {
		if now.After(tomb.until) {
			delete(d.tombs, id)
		}
	}
	for name, gone := range d.services {
		if now.Sub(gone.at) > tombstoneFor {
			delete(d.services, name)
		}
	}
}
