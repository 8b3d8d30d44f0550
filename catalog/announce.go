package catalog

import (
	"time"

	"github.com/skerryhq/skerry"
)

// tombstoneFor is how long a withdrawn owner's version is remembered.
const tombstoneFor = 24 * time.Hour

// Announce implements [skerry.Announcer].
func (t *Table) Announce(a skerry.Announcement) (skerry.Outcome, error) {
	if err := validate(&a); err != nil {
		return skerry.Stale, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.cfg.Now()
	o := t.owners[a.Owner]
	if o == nil {
		if tomb, ok := t.departed.tombs[a.Owner]; ok && now.Before(tomb.until) && !tomb.version.Less(a.Version) {
			return skerry.Stale, nil
		}
		if a.Set == nil {
			return skerry.Resend, nil
		}
		delete(t.departed.tombs, a.Owner)
		o = &owner{id: a.Owner, kind: a.Kind, items: map[string]*item{}, checks: map[string]*skerry.Check{}}
		t.owners[a.Owner] = o
		t.renew(o, a.TTL, now)
		o.version = a.Version
		t.apply(o, wholeSet(o, a.Set))
		return skerry.Applied, nil
	}
	if a.Set != nil {
		return t.announceSet(o, &a, now)
	}
	return t.announceDelta(o, &a, now)
}

func (t *Table) announceSet(o *owner, a *skerry.Announcement, now time.Time) (skerry.Outcome, error) {
	if a.Version.Less(o.version) {
		return skerry.Stale, nil
	}
	t.renew(o, a.TTL, now)
	if a.Version == o.version {
		return skerry.Unchanged, nil
	}
	o.version = a.Version
	if t.apply(o, wholeSet(o, a.Set)) {
		return skerry.Applied, nil
	}
	return skerry.Unchanged, nil
}

func (t *Table) announceDelta(o *owner, a *skerry.Announcement, now time.Time) (skerry.Outcome, error) {
	if !o.version.Less(a.Version) {
		return skerry.Stale, nil
	}
	if a.Base != o.version {
		return skerry.Resend, nil
	}
	t.renew(o, a.TTL, now)
	o.version = a.Version
	if t.apply(o, a.Delta) {
		return skerry.Applied, nil
	}
	return skerry.Unchanged, nil
}

// Withdraw implements [skerry.Announcer].
func (t *Table) Withdraw(id skerry.OwnerID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	if o == nil {
		return false
	}
	now := t.cfg.Now()
	t.departed.tombs[id] = tombstone{version: o.version, until: now.Add(tombstoneFor)}
	t.remove(o, skerry.CauseDeregistered)
	return true
}

// remove takes an owner out of the table.
func (t *Table) remove(o *owner, cause skerry.Cause) {
	t.departed.cause = cause
	t.apply(o, wholeSet(o, &skerry.Set{}))
	t.departed.cause = skerry.CauseDeregistered
	t.leases.drop(o)
	delete(t.owners, o.id)
	t.leaveNode(o)
}

func validate(a *skerry.Announcement) error {
	switch {
	case a.Owner == "":
		return skerry.Errorf(skerry.Invalid, "owner: an announcement needs an owner's id")
	case (a.Set == nil) == (a.Delta == nil):
		return skerry.Errorf(skerry.Invalid, "set: an announcement needs either the whole set or a delta")
	case a.Kind == skerry.LeaseOwner && a.TTL <= 0:
		return skerry.Errorf(skerry.Invalid, "ttl: a lease needs a ttl above zero")
	}
	s := a.Set
	if s == nil {
		s = &skerry.Set{Node: a.Delta.Node, Instances: a.Delta.Instances, Checks: a.Delta.Checks}
		if a.Delta.Node == nil {
			s.Node = &skerry.Node{Name: "unchanged"}
		}
	}
	if s.Node == nil || s.Node.Name == "" {
		return skerry.Errorf(skerry.Invalid, "node: a set needs a node with a name")
	}
	ids := make(map[string]bool, len(s.Instances))
	for _, i := range s.Instances {
		switch {
		case i == nil || i.ID == "" || i.Service == "":
			return skerry.Errorf(skerry.Invalid, "services: an instance needs an id and a service name")
		case ids[i.ID]:
			return skerry.Errorf(skerry.Invalid, "services: the id %q is there twice; ids are unique within a node", i.ID)
		}
		ids[i.ID] = true
	}
	clear(ids)
	for _, c := range s.Checks {
		switch {
		case c == nil || c.ID == "":
			return skerry.Errorf(skerry.Invalid, "checks: a check needs an id")
		case ids[c.ID]:
			return skerry.Errorf(skerry.Invalid, "checks: the id %q is there twice; ids are unique within a node", c.ID)
		}
		ids[c.ID] = true
	}
	return nil
}
