package registry

import (
	"time"

	"github.com/skerryhq/skerry"
)

// own is an owner in this process. The registry beats for it: it lives as long as the
// process.
type own struct {
	r     *Registry
	about skerry.Announcement // without a set or a delta
	from  skerry.Source
	// The registry's mu guards them.
	digest uint64
	beaten time.Time
	again  bool           // the whole set is wanted
	newest skerry.Version // that was announced
}

// Carry implements [skerry.Carrier] for an owner that lives as long as this process. A
// change is in this server's catalog when Changed returns.
func (r *Registry) Carry(id skerry.OwnerID, kind skerry.OwnerKind, ttl time.Duration, from skerry.Source) skerry.Outbox {
	o := &own{r: r, about: skerry.Announcement{Owner: id, Kind: kind, TTL: ttl}, from: from}
	if ttl <= 0 {
		o.about.TTL = r.cfg.AgentTTL
	}
	r.mu.Lock()
	r.own[id] = o
	r.mu.Unlock()
	o.whole()
	return o
}

// Changed implements [skerry.Outbox].
func (o *own) Changed(v, base skerry.Version, d skerry.Delta, digest uint64) {
	a := o.about
	a.Version, a.Base, a.Delta, a.Digest = v, base, &d, digest
	o.announce(a)
}

// whole announces the whole set. It must not be called with the registry's mu held: the
// owner may hold its lock while it calls Changed.
func (o *own) whole() {
	a := o.about
	a.Version, a.Digest, a.Set = o.from.Whole()
	o.announce(a)
}

func (o *own) announce(a skerry.Announcement) {
	o.r.mu.Lock()
	if o.newest.Less(a.Version) {
		o.newest = a.Version
	}
	o.r.mu.Unlock()
	outcome, err := o.r.Announce(a)
	o.r.mu.Lock()
	passed := a.Version.Less(o.newest) // by a change that was made while the whole set was taken
	switch {
	case outcome == skerry.Resend:
		o.again = true
	case !passed:
		o.digest = a.Digest
		o.again = o.again && a.Set == nil
	}
	o.r.mu.Unlock()
	if err != nil || outcome == skerry.Stale && !passed {
		o.r.log.Error("the catalog refused a change of an owner's set", "owner", a.Owner, "version", a.Version, "outcome", outcome, "error", err)
	}
}

// beatOwn beats for the owners of this process. It returns those whose whole sets are
// wanted.
func (r *Registry) beatOwn() (wanted []*own) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	for id, o := range r.own {
		if now.Sub(o.beaten) >= o.about.TTL/3 {
			o.beaten = now
			if r.core.BeatLease(now, id, o.digest).Want {
				o.again = true
			}
		}
		if o.again {
			wanted = append(wanted, o)
		}
	}
	r.flush()
	return wanted
}
