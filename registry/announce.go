package registry

import (
	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
)

// Announce implements [skerry.Announcer]. An owner must have a TTL: the cluster judges the
// silence of all.
func (r *Registry) Announce(a skerry.Announcement) (skerry.Outcome, error) {
	if err := catalog.Validate(&a); err != nil {
		return skerry.Stale, err
	}
	if a.TTL <= 0 {
		a.TTL = r.cfg.AgentTTL
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.core.PutLease(r.cfg.Now(), record(&a))
	applied := r.land()
	switch {
	case a.Version.Less(told.Version):
		return skerry.Stale, nil
	case told.Want || told.Version != a.Version:
		return skerry.Resend, nil
	case applied.changed:
		return skerry.Applied, nil
	default:
		return skerry.Unchanged, nil
	}
}

func record(a *skerry.Announcement) cluster.Record {
	return cluster.Record{
		Owner: a.Owner, Kind: a.Kind, TTL: a.TTL, Version: a.Version, Digest: a.Digest,
		Base: a.Base, Delta: a.Delta, Set: a.Set,
	}
}

// Restore implements [skerry.Announcer].
func (r *Registry) Restore(a skerry.Announcement) error {
	if err := catalog.Validate(&a); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.core.Restore(r.cfg.Now(), record(&a))
	r.flush()
	return nil
}

// Beat implements [skerry.Announcer].
func (r *Registry) Beat(id skerry.OwnerID, digest uint64) skerry.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.core.BeatLease(r.cfg.Now(), id, digest)
	r.flush()
	if told.Want {
		return skerry.Resend
	}
	return skerry.Unchanged
}

// Withdraw implements [skerry.Announcer].
func (r *Registry) Withdraw(id skerry.OwnerID, v skerry.Version) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.core.Record(id)
	if !ok || known.Gone {
		return false
	}
	r.core.PutLease(r.cfg.Now(), cluster.Record{Owner: id, Kind: known.Kind, TTL: known.TTL, Version: v, Gone: true})
	delete(r.own, id)
	return r.land().departed
}

// Known implements [skerry.Announcer].
func (r *Registry) Known(id skerry.OwnerID) (skerry.Version, uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, _ := r.core.Record(id)
	newest := r.core.Newest(id)
	return newest, o.Digest, newest != (skerry.Version{})
}

// Held returns how many owners the guard holds.
func (r *Registry) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// Release ends the guard's holds of the owners for which among is true: those that are still
// silent are lost. left are those whose homes were asked: it is to be called again for them.
func (r *Registry) Release(among func(skerry.OwnerID) bool) (lost, left []skerry.OwnerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, left = r.core.Release(r.cfg.Now(), among)
	r.flush()
	return lost, left
}

// Shows reports whether the catalog shows an owner.
func (r *Registry) Shows(id skerry.OwnerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, shown := r.core.Shows(id)
	return shown
}
