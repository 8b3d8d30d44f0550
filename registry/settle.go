package registry

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
)

// A server that starts among others has its own disk alone until their copies come.
// Its clients wait for them: a missing instance would look removed to them.
const (
	// othersWithin is how long a starting server waits for others to be up: after an outage
	// they start at about the same time. Agents that were attached to it try again within it.
	othersWithin = 10 * time.Second
	// copiesWithin bounds the wait for the copies of a large catalog.
	copiesWithin = time.Minute
)

// Settled returns a channel that is closed when the catalog has what the other servers knew
// at the start of this one, or when waiting for them has no use.
func (r *Registry) Settled() <-chan struct{} { return r.settled }

// settle closes Settled when its time has come. It must be called with mu held.
func (r *Registry) settle(now time.Time) {
	select {
	case <-r.settled:
		return
	default:
	}
	passed := now.Sub(r.current.born)
	_, of := r.core.Votes()
	up, known := 0, r.core.Known()
	for _, id := range known {
		if r.core.Up(id) {
			up++
		}
	}
	switch {
	case r.core.Whole() && passed < othersWithin && !r.expected():
		return
	case r.core.Whole():
	case r.core.Compared() && (up == len(known) && up >= of || passed >= othersWithin):
	case up == 1 && passed >= othersWithin:
		r.log.Warn("no other server is there: this one answers from its own disk", "waited", passed.Round(time.Millisecond))
	case passed >= copiesWithin:
		r.log.Warn("the copy of the catalog takes long: answers may lack instances until it is there")
	default:
		return
	}
	close(r.settled)
}

// expected reports whether all expected agents are there.
func (r *Registry) expected() bool {
	for _, id := range r.cfg.Expected {
		if _, shown := r.core.Shows(id); !shown {
			return false
		}
	}
	return true
}

// Agents returns the agents in other processes that are attached to this server.
func (r *Registry) Agents() []skerry.OwnerID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(r.core.Attached(), func(id skerry.OwnerID) bool { return r.own[id] != nil })
}

// Ready returns nil once this server has what its peers know (see [cluster.Server.Whole]).
// Before, the error is of kind Unavailable and has the reason.
func (r *Registry) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.core.Whole():
		return nil
	case r.core.Minority():
		up, of := r.core.Votes()
		return skerry.Errorf(skerry.Unavailable, "recovering: this server hears no majority of the servers: %d of %d, itself among them", up, of)
	default:
		return skerry.Errorf(skerry.Unavailable, "recovering: this server has not got the whole catalog from the others yet")
	}
}
