package skerry

import (
	"context"
	"time"
)

// Drained is the count of the readers of a service that may not know yet that an instance drains.
type Drained struct {
	Acked   int  // readers that have the list without the instance
	Pending int  // readers that may still have the list with it
	Gone    int  // readers that went away, or ask no more
	Safe    bool // Pending is 0, at all servers and agents, and resolvers have forgotten the instance
	// Waiting names the pending servers, agents and kinds of readers.
	Waiting []string `json:",omitempty"`
}

// Add adds the count of another instance.
func (d *Drained) Add(o Drained) {
	d.Acked, d.Pending, d.Gone = d.Acked+o.Acked, d.Pending+o.Pending, d.Gone+o.Gone
	d.Safe, d.Waiting = d.Safe && o.Safe, append(d.Waiting, o.Waiting...)
}

// Drains counts the readers of services.
type Drains interface {
	// Await returns when no reader of the service can have the instance any more, or the time is over, or ctx ends. The
	// instance drains already.
	Await(ctx context.Context, node string, i *Instance, within time.Duration) Drained
}

// Readers notes the readers of services at this process, so that a drain can count them. A reader is a client with one
// query. Its methods may be called at once, and cost little.
type Readers interface {
	// Asked notes that a reader waits for the view of a service after an index.
	Asked(service string, reader, have uint64)
	// Served notes that a reader got the view of an index. waited: it is one that waits.
	Served(service string, reader, index uint64, waited bool)
	// Left notes that a reader went away while it waited.
	Left(service string, reader uint64)
	// Resolved notes that a resolver may keep an answer for a time.
	Resolved(service string, ttl time.Duration)
}

// NoReaders notes nothing.
type NoReaders struct{}

// Asked implements [Readers].
func (NoReaders) Asked(string, uint64, uint64) {}

// Served implements [Readers].
func (NoReaders) Served(string, uint64, uint64, bool) {}

// Left implements [Readers].
func (NoReaders) Left(string, uint64) {}

// Resolved implements [Readers].
func (NoReaders) Resolved(string, time.Duration) {}
