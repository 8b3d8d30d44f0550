package consul

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/skerryhq/skerry"
)

// The permissions for writes to the catalog and to the agent's set.

// mustRegister requires write access to the node, if the write would change it, and to
// the service. A check of a service needs the service's.
func (q *request) mustRegister(r *skerry.ExternalRecord) error {
	if q.who == nil {
		return nil
	}
	v := q.f.b.Catalog.Node(r.Node.Name)
	if v == nil || q.unseen(skerry.ResourceNode, v.Node.Name) || !r.KeepNode && changes(v.Node, r.Node) {
		if err := q.must(skerry.ResourceNode, r.Node.Name, skerry.AccessWrite); err != nil {
			return err
		}
	}
	if r.Instance != nil {
		if err := q.must(skerry.ResourceService, r.Instance.Service, skerry.AccessWrite); err != nil {
			return err
		}
		if was := instanceOf(v, r.Instance.ID); was != nil && was.Service != r.Instance.Service {
			if err := q.mustStill(skerry.ResourceService, was.Service, skerry.AccessWrite); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Checks {
		if err := q.mustStoredCheck(v, r.Node.Name, c.ID); err != nil {
			return err
		}
		if r.Instance != nil && c.ServiceID == r.Instance.ID {
			continue
		}
		if err := q.mustCheck(v, r.Node.Name, c.ServiceID); errors.Is(err, errNoService) {
			return serverError(fmt.Sprintf("Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.ID))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// changes reports whether a write of now over was changes the node.
func changes(was, now *skerry.Node) bool {
	return was.Address != now.Address || now.ID != "" && was.ID != now.ID || !maps.Equal(was.TaggedAddresses, now.TaggedAddresses) || !maps.Equal(was.Meta, now.Meta)
}

func instanceOf(v *skerry.NodeView, id string) *skerry.Instance {
	if v == nil {
		return nil
	}
	for _, i := range v.Instances {
		if i.ID == id {
			return i
		}
	}
	return nil
}

// mustCheck requires write access to the service with this ID, else to the node.
func (q *request) mustCheck(v *skerry.NodeView, node, serviceID string) error {
	i := instanceOf(v, serviceID)
	if serviceID == "" || i == nil {
		return q.must(skerry.ResourceNode, node, skerry.AccessWrite)
	}
	if !q.unseen(skerry.ResourceService, i.Service) {
		return q.must(skerry.ResourceService, i.Service, skerry.AccessWrite)
	}
	if err := q.must(skerry.ResourceNode, node, skerry.AccessWrite); err != nil {
		return err
	}
	return errNoService
}

// errNoService is the answer to a check of a service that does not exist.
var errNoService = serverError("Missing service registration")

// mustStoredCheck is mustCheck for the check that has this ID now, if there is one. The
// service that the write names does not count.
func (q *request) mustStoredCheck(v *skerry.NodeView, node, id string) error {
	if v == nil {
		return nil
	}
	for _, c := range v.Checks {
		if c.ID != id {
			continue
		}
		if q.unseen(skerry.ResourceService, c.ServiceName) && c.ServiceName != "" {
			return skerry.Errorf(skerry.Denied, "Permission denied")
		}
		return q.mustCheck(v, node, c.ServiceID)
	}
	return nil
}

// mustDeregister requires the permission to remove a node, or the named service or check on
// it. Write access to the node includes the removal of everything on it.
func (q *request) mustDeregister(node, serviceID, checkID string) error {
	if q.may(skerry.ResourceNode, node, skerry.AccessWrite) {
		return nil
	}
	v := q.f.b.Catalog.Node(node)
	switch {
	case serviceID != "":
		if i := instanceOf(v, serviceID); i != nil && !q.unseen(skerry.ResourceService, i.Service) {
			return q.must(skerry.ResourceService, i.Service, skerry.AccessWrite)
		}
	case checkID != "" && v != nil && slices.ContainsFunc(v.Checks, func(c *skerry.Check) bool {
		return c.ID == checkID && !(c.ServiceName != "" && q.unseen(skerry.ResourceService, c.ServiceName))
	}):
		return q.mustStoredCheck(v, node, checkID)
	}
	return q.must(skerry.ResourceNode, node, skerry.AccessWrite)
}

// mustDrop requires write access to the services that a whole set leaves out.
func (q *request) mustDrop(rs []skerry.Registration) error {
	if q.who == nil {
		return nil
	}
	stay := map[string]bool{}
	for _, r := range rs {
		stay[r.Instance.ID] = true
	}
	for _, i := range q.f.b.Local.Instances() {
		if !stay[i.ID] && i.Service != ownService {
			if err := q.mustStill(skerry.ResourceService, i.Service, skerry.AccessWrite); err != nil {
				return err
			}
		}
	}
	return nil
}

// mustAnnounce requires write access to the node and all services of an owner's set.
func (q *request) mustAnnounce(s *skerry.Set) error {
	if err := q.must(skerry.ResourceNode, s.Node.Name, skerry.AccessWrite); err != nil {
		return err
	}
	for _, i := range s.Instances {
		if err := q.must(skerry.ResourceService, i.Service, skerry.AccessWrite); err != nil {
			return err
		}
	}
	return nil
}

// refused returns the operations of a transaction that the caller may not do. Reads are
// never refused: their results are left out of the answer.
func (q *request) refused(ops []skerry.TxnOp) (out []skerry.TxnError) {
	if q.who == nil {
		return nil
	}
	for i, op := range ops {
		err := q.mustOp(&op)
		if err == nil && op.Key != nil && q.hiddenSession(op.Key.Session) {
			err = noSession(op.Key)
		}
		if err != nil {
			out = append(out, skerry.TxnError{Op: i, What: err.Error()})
		}
	}
	return out
}

// noSession returns the error of an operation with a session that does not exist.
func noSession(op *skerry.KeyOp) error {
	switch op.Action {
	case skerry.KeyAcquire:
		return fmt.Errorf("invalid session %q", op.Session)
	case skerry.KeyRelease:
		return fmt.Errorf("failed to unlock key %q, lock isn't held, or is held by another session", op.Key)
	}
	return nil
}

func (q *request) mustOp(op *skerry.TxnOp) error {
	switch {
	case op.Key != nil:
		switch a := op.Key.Action; {
		case a == skerry.KeyDeleteAll:
			return q.mustBelow(skerry.ResourceKey, op.Key.Key, skerry.AccessWrite)
		case a.Writes():
			return q.must(skerry.ResourceKey, op.Key.Key, skerry.AccessWrite)
		case a == skerry.KeyCheckIndex, a == skerry.KeyCheckSession, a == skerry.KeyCheckAbsent:
			return q.must(skerry.ResourceKey, op.Key.Key, skerry.AccessRead)
		}
	case op.Node != nil && op.Node.Action != skerry.CatalogGet:
		return q.must(skerry.ResourceNode, op.Node.Node.Name, skerry.AccessWrite)
	case op.Service != nil && op.Service.Action != skerry.CatalogGet:
		v := q.f.b.Catalog.Node(op.Service.Node)
		if was := instanceOf(v, op.Service.Instance.ID); was != nil {
			if err := q.mustStill(skerry.ResourceService, was.Service, skerry.AccessWrite); err != nil {
				return err
			}
		}
		if name := op.Service.Instance.Service; name != "" {
			return q.must(skerry.ResourceService, name, skerry.AccessWrite)
		}
	case op.Check != nil && op.Check.Action != skerry.CatalogGet:
		v := q.f.b.Catalog.Node(op.Check.Node)
		if err := q.mustStoredCheck(v, op.Check.Node, op.Check.Check.ID); err != nil {
			return err
		}
		if op.Check.Action == skerry.CatalogSet || op.Check.Action == skerry.CatalogCAS {
			return q.mustCheck(v, op.Check.Node, op.Check.Check.ServiceID)
		}
	}
	return nil
}

// readable returns the results of a transaction that the caller may read. Like Consul it
// does not report the others.
func (q *request) readable(results []skerry.TxnResult) []skerry.TxnResult {
	if q.who == nil {
		return results
	}
	return slices.DeleteFunc(results, func(r skerry.TxnResult) bool { return !q.reads(&r) })
}

func (q *request) reads(r *skerry.TxnResult) bool {
	switch {
	case r.Key != nil:
		return q.readsKey(r.Key.Key)
	case r.Node != nil:
		return q.seesNode(r.Node.Name)
	case r.Service != nil:
		return q.seesService(r.Service.Service) && !q.unseen(skerry.ResourceNode, r.NodeName)
	case r.Check != nil:
		return q.seesCheck(r.NodeName, r.Check)
	}
	return true
}

// ownService is the service of the servers themselves.
const ownService = "consul"
