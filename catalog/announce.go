package catalog

import (
	"github.com/skerryhq/skerry"
)

// Announce implements [skerry.Announcer].
func (t *Table) Announce(a skerry.Announcement) (skerry.Outcome, error) {
	if err := Validate(&a); err != nil {
		return skerry.Stale, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[a.Owner]
	if o == nil {
		if t.departed.refuses(a.Owner, a.Version, t.cfg.Now()) {
			return skerry.Stale, nil
		}
		if a.Set == nil {
			return skerry.Resend, nil
		}
		delete(t.departed.tombs, a.Owner)
		o = &owner{id: a.Owner, kind: a.Kind, items: map[string]*item{}, checks: map[string]*skerry.Check{}}
		t.owners[a.Owner] = o
		o.leased, o.version, o.digest = a.TTL > 0, a.Version, a.Digest
		t.apply(o, wholeSet(o, a.Set))
		return skerry.Applied, nil
	}
	if a.Set != nil {
		return t.announceSet(o, &a)
	}
	return t.announceDelta(o, &a)
}

func (t *Table) announceSet(o *owner, a *skerry.Announcement) (skerry.Outcome, error) {
	if a.Version.Less(o.version) {
		return skerry.Stale, nil
	}
	o.leased = a.TTL > 0
	// The same version is compared too: it is how a differing digest is mended.
	o.version, o.digest = a.Version, a.Digest
	if t.apply(o, wholeSet(o, a.Set)) {
		return skerry.Applied, nil
	}
	return skerry.Unchanged, nil
}

func (t *Table) announceDelta(o *owner, a *skerry.Announcement) (skerry.Outcome, error) {
	if !o.version.Less(a.Version) {
		return skerry.Stale, nil
	}
	if a.Base != o.version {
		return skerry.Resend, nil
	}
	o.leased = a.TTL > 0
	o.version, o.digest = a.Version, a.Digest
	if t.apply(o, a.Delta) {
		return skerry.Applied, nil
	}
	return skerry.Unchanged, nil
}

// Beat implements [skerry.Announcer].
func (t *Table) Beat(id skerry.OwnerID, digest uint64) skerry.Outcome {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if o := t.owners[id]; o == nil || o.digest != digest {
		return skerry.Resend
	}
	return skerry.Unchanged
}

// Restore implements [skerry.Announcer].
func (t *Table) Restore(a skerry.Announcement) error {
	_, err := t.Announce(a)
	return err
}

// Withdraw implements [skerry.Announcer].
func (t *Table) Withdraw(id skerry.OwnerID, v skerry.Version) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[id]
	if o == nil {
		return false
	}
	if o.version.Less(v) {
		o.version = v
	}
	t.departed.bury(o, t.cfg.Now())
	t.remove(o, skerry.CauseDeregistered)
	return true
}

// Known implements [skerry.Announcer].
func (t *Table) Known(id skerry.OwnerID) (skerry.Version, uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if o := t.owners[id]; o != nil {
		return o.version, o.digest, true
	}
	tomb, ok := t.departed.tombs[id]
	return tomb.version, 0, ok
}

// Size returns the number of instances and checks of an owner.
func (t *Table) Size(id skerry.OwnerID) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o := t.owners[id]
	if o == nil {
		return 0
	}
	return len(o.items) + len(o.checks)
}

// remove takes an owner out of the table.
func (t *Table) remove(o *owner, cause skerry.Cause) {
	if o.held {
		t.guard.held--
	}
	c := &change{t: t, o: o, cause: cause}
	c.run(wholeSet(o, &skerry.Set{}))
	c.leaveNode()
	delete(t.owners, o.id)
}

// Validate returns an error of kind [skerry.Invalid] if a table would refuse the
// announcement whatever it holds.
func Validate(a *skerry.Announcement) error {
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
	if err := s.Node.Bounds(); err != nil {
		return err
	}
	if err := validInstances(s.Instances); err != nil {
		return err
	}
	return validChecks(s.Checks)
}

func validInstances(is []*skerry.Instance) error {
	ids := seen{}
	for _, i := range is {
		switch {
		case i == nil || i.ID == "" || i.Service == "":
			return skerry.Errorf(skerry.Invalid, "services: an instance needs an id and a service name")
		case ids.twice(i.ID, len(is)):
			return skerry.Errorf(skerry.Invalid, "services: the id %q is there twice; ids are unique within a node", i.ID)
		}
		if err := i.Bounds(); err != nil {
			return err
		}
	}
	return nil
}

func validChecks(cs []*skerry.Check) error {
	ids := seen{}
	for _, c := range cs {
		switch {
		case c == nil || c.ID == "":
			return skerry.Errorf(skerry.Invalid, "checks: a check needs an id")
		case ids.twice(c.ID, len(cs)):
			return skerry.Errorf(skerry.Invalid, "checks: the id %q is there twice; ids are unique within a node", c.ID)
		}
		if err := c.Bounds(); err != nil {
			return err
		}
	}
	return nil
}

// seen finds an id that is there twice. Most announcements have one record: they
// cost no map.
type seen struct{ ids map[string]bool }

func (s *seen) twice(id string, of int) bool {
	if of < 2 {
		return false
	}
	if s.ids == nil {
		s.ids = make(map[string]bool, of)
	}
	was := s.ids[id]
	s.ids[id] = true
	return was
}
