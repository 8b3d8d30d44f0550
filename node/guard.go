package node

import (
	"context"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/registry"
)

// guard ends holds, at all servers.
type guard struct{ *registry.Registry }

const (
	// releaseWithin bounds a release, and releaseEvery is the time after which homes that
	// did not answer are asked again.
	releaseWithin = 7 * time.Second
	releaseEvery  = 250 * time.Millisecond
)

// Release implements [consul.Guard].
func (g guard) Release(ctx context.Context, among func(skerry.OwnerID) bool) ([]skerry.OwnerID, error) {
	ctx, cancel := context.WithTimeout(ctx, releaseWithin)
	defer cancel()
	lost, left := g.Registry.Release(among)
	asked := map[skerry.OwnerID]bool{}
	for _, id := range left {
		asked[id] = true
	}
	t := time.NewTicker(releaseEvery)
	defer t.Stop()
	for len(left) > 0 {
		select {
		case <-ctx.Done():
			return lost, skerry.Errorf(skerry.Unavailable, "the guard holds %d owners on, for example %s: the servers that judge them did not answer, and this one hears no majority without them", len(left), left[0])
		case <-t.C:
		}
		var more []skerry.OwnerID
		more, left = g.Registry.Release(func(id skerry.OwnerID) bool { return asked[id] })
		for _, id := range more {
			delete(asked, id)
		}
		lost = append(lost, more...)
	}
	for id := range asked { // one that is shown was heard meanwhile
		if !g.Shows(id) {
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
	return lost, nil
}
