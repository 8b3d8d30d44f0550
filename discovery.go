package skerry

import (
	"context"
	"time"
)

// Discovery answers where the instances of a service are. A server answers from its
// [Catalog], an agent from the views that it follows at a server. Its methods may be called
// from many goroutines.
type Discovery interface {
	// Service returns the view of a service, as [Catalog.Service] does. A process that does
	// not have the view waits for it, at most until ctx ends. age is the time since the view
	// was last known to be current; 0 on a server. The error is of kind [Unavailable] if the
	// view is not known.
	Service(ctx context.Context, name string) (v *View, age time.Duration, err error)
	// Watch is [Catalog.Watch] for the topic of a service.
	Watch(t Topic) (index uint64, changed <-chan struct{})
	// Foreign is [Catalog.Foreign].
	Foreign(index uint64) bool
}

// Discover returns the discovery of a process that has a catalog.
func Discover(c Catalog) Discovery { return discovered{c} }

type discovered struct{ Catalog }

// Service implements [Discovery].
func (d discovered) Service(_ context.Context, name string) (*View, time.Duration, error) {
	return d.Catalog.Service(name), 0, nil
}

// Settle waits until settled is closed: the catalog can be answered from. nil is settled. It
// returns the cause if ctx ends before.
func Settle(ctx context.Context, settled <-chan struct{}) error {
	if settled == nil {
		return nil
	}
	select {
	case <-settled: // the usual case makes no channel of the context
		return nil
	default:
	}
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Subscriber lets readers follow services.
type Subscriber interface {
	// Subscribe returns a subscription without services. The caller closes it.
	Subscribe() Subscription
}

// Subscription collects the services of one reader that changed. A service that changes several times before it is
// read counts once: a slow reader gets the newest view in place of all between.
type Subscription interface {
	// Follow adds a service, which counts as changed. held is the position that the reader has among the readers of the
	// service already, and keeps; 0: none.
	Follow(name string, held Position)
	Unfollow(name string)
	// Position returns the position of the reader of a service that it follows; 0: it is not known yet.
	Position(name string) Position
	// Next returns the names of the services that changed since the last call, folded, and waits until
	// there is one. The error is that of ctx.
	Next(ctx context.Context) ([]string, error)
	Close()
}

// Position is a place on the ring of all readers of a service, as a part of 2^32; 0 is none. Registries hand positions out
// so that they lie evenly, and callers that connect to a part of the instances each take an arc from there: no instance is
// left out (the deterministic aperture of Twitter's Finagle).
type Position uint32

// Part returns the position as a part of the ring, above 0 and below 1; 0: none.
func (p Position) Part() float64 { return float64(p) / (1 << 32) }
