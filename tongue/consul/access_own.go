package consul

import "github.com/skerryhq/skerry"

// The permissions for writes to the agent's own set.

// mustOwnCheck requires write access to the service of a check, or to the node.
func (q *request) mustOwnCheck(c *skerry.Check) error {
	if q.who == nil {
		return nil
	}
	if c.ServiceID == "" {
		return q.must(skerry.ResourceNode, q.f.b.Self.Name, skerry.AccessWrite)
	}
	i, _, _ := q.f.b.Local.Instance(c.ServiceID)
	if i == nil {
		return nil // the operation fails by itself
	}
	if q.unseen(skerry.ResourceService, i.Service) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "check's service", ID: c.ServiceID}
	}
	return q.must(skerry.ResourceService, i.Service, skerry.AccessWrite)
}

// mustHeldCheck is mustOwnCheck for the check that has this ID now, if there is one.
func (q *request) mustHeldCheck(id string) error {
	c := q.heldCheck(id)
	if c == nil {
		return nil
	}
	if q.unseenCheck(c) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "check", ID: id}
	}
	return q.mustOwnCheck(c)
}

// heldCheck returns the check that has this ID now, if access is controlled.
func (q *request) heldCheck(id string) *skerry.Check {
	if q.who == nil {
		return nil
	}
	for _, c := range q.f.b.Local.Checks() {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// unseenCheck reports whether one of this agent's checks is hidden from the caller.
func (q *request) unseenCheck(c *skerry.Check) bool {
	if c.ServiceID == "" {
		return q.unseen(skerry.ResourceNode, q.f.b.Self.Name)
	}
	i, _, _ := q.f.b.Local.Instance(c.ServiceID)
	return i != nil && q.unseen(skerry.ResourceService, i.Service)
}

// mustOwnRegistration requires write access to the service, and to the services of its
// checks that exist already.
func (q *request) mustOwnRegistration(r *skerry.Registration) error {
	if q.who == nil {
		return nil
	}
	if err := q.mustOwn(r.Instance.ID, r.Instance.Service); err != nil {
		return err
	}
	for n := range r.Checks {
		if err := q.mustReplace(r.CheckID(n)); err != nil {
			return err
		}
	}
	return nil
}

// mustOwn requires write access to a service, and to the one that now has its ID.
func (q *request) mustOwn(id, service string) error {
	if q.who == nil {
		return nil
	}
	if service != "" {
		if err := q.must(skerry.ResourceService, service, skerry.AccessWrite); err != nil {
			return err
		}
	}
	i, _, _ := q.f.b.Local.Instance(id)
	if i == nil || i.Service == service {
		return nil
	}
	if service == "" && q.unseen(skerry.ResourceService, i.Service) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "service", ID: id}
	}
	return q.mustStill(skerry.ResourceService, i.Service, skerry.AccessWrite)
}

// mustReplace is mustHeldCheck for a write that makes a check of this ID.
func (q *request) mustReplace(id string) error {
	c := q.heldCheck(id)
	if c == nil {
		return nil
	}
	if q.unseenCheck(c) {
		return skerry.Errorf(skerry.Denied, "Permission denied")
	}
	return q.mustOwnCheck(c)
}
