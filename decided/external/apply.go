package external

import (
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/decided/session"
)

// MissingNode returns the error of a read that finds no node.
func MissingNode(name string) error { return fmt.Errorf("node %q doesn't exist", name) }

// MissingService returns the error of a read that finds no service.
func MissingService(id, node string) error {
	return fmt.Errorf("service %q on node %q doesn't exist", id, node)
}

// MissingCheck returns the error of a read that finds no check.
func MissingCheck(id, node string) error {
	return fmt.Errorf("check %q on node %q doesn't exist", id, node)
}

// ApplyNode does one operation on a node within a transaction. It returns the node as it
// is then, or nil after a deletion. It writes as [Store.PutExternal] does. It reads as the
// catalog shows records: an owner's record wins over an external one. Only external
// records can be compared and set. An error refuses the transaction; its text is Consul's.
func (x *Store) ApplyNode(tx *session.Change, op *skerry.NodeOp) (*skerry.Node, error) {
	name, key := op.Node.Name, record.NodeKey(op.Node.Name)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown node operation: %s", op.Action)
	}
	if name == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(record.ExternalNodes + key)
	switch op.Action {
	case skerry.CatalogGet:
		if v := x.catalog.Owned(name); v != nil {
			return v.Node, nil
		}
		if was == nil {
			return nil, MissingNode(name)
		}
		return record.DecodeExternal[skerry.Node](was)
	case skerry.CatalogDelete, skerry.CatalogDeleteCAS:
		if op.Action == skerry.CatalogDeleteCAS && (was == nil || was.Modified != op.Node.Modified) {
			return nil, fmt.Errorf("failed to delete node %q, index is stale", name)
		}
		return nil, x.dropNode(tx, key)
	}
	if op.Action == skerry.CatalogCAS && !current(was, op.Node.Modified) {
		return nil, fmt.Errorf("failed to set node %q, index is stale", name)
	}
	if op.Node.Address == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide address if SkipNodeUpdate is not set")
	}
	return x.putNode(tx, op.Node, false)
}

// ApplyService does one operation on a service, as [Store.ApplyNode] does on a node.
func (x *Store) ApplyService(tx *session.Change, op *skerry.ServiceOp) (*skerry.Instance, error) {
	i, node := op.Instance, record.NodeKey(op.Node)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown service operation: %s", op.Action)
	}
	if op.Node == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(record.ExternalServices + node + "/" + i.ID)
	if op.Action == skerry.CatalogGet {
		if owned := x.ownedInstance(op.Node, i.ID); owned != nil {
			return owned, nil
		}
		if was == nil {
			return nil, MissingService(i.ID, op.Node)
		}
		return record.DecodeExternal[skerry.Instance](was)
	}
	switch {
	case i.ID == "":
		return nil, fmt.Errorf("service name (Service.Service) is required; both Service ID (Service.ID) and Service Name cannot be empty")
	case i.Service == "":
		return nil, skerry.Errorf(skerry.Invalid, "Must provide service name (Service.Service) when service ID is provided")
	}
	switch op.Action {
	case skerry.CatalogDelete, skerry.CatalogDeleteCAS:
		if op.Action == skerry.CatalogDeleteCAS && (was == nil || was.Modified != i.Modified) {
			return nil, fmt.Errorf("failed to delete service %q on node %q, index is stale", i.ID, op.Node)
		}
		return nil, x.dropService(tx, node, i.ID)
	case skerry.CatalogCAS:
		if !current(was, i.Modified) {
			return nil, fmt.Errorf("failed to set service %q on node %q, index is stale", i.ID, op.Node)
		}
	}
	if err := x.needNode(tx, op.Node); err != nil {
		return nil, err
	}
	stamp, err := put(tx, record.ExternalServices+node+"/"+i.ID, i)
	now := *i
	now.Stamp = stamp
	return &now, err
}

// ApplyCheck does one operation on a check, as [Store.ApplyNode] does on a node.
func (x *Store) ApplyCheck(tx *session.Change, op *skerry.CheckOp) (*skerry.Check, error) {
	c, node := op.Check, record.NodeKey(op.Node)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown check operation: %s", op.Action)
	}
	if op.Node == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(record.ExternalChecks + node + "/" + c.ID)
	switch op.Action {
	case skerry.CatalogGet:
		if owned := x.ownedCheck(op.Node, c.ID); owned != nil {
			return owned, nil
		}
		if was == nil {
			return nil, MissingCheck(c.ID, op.Node)
		}
		return record.DecodeExternal[skerry.Check](was)
	case skerry.CatalogDelete, skerry.CatalogDeleteCAS:
		if op.Action == skerry.CatalogDeleteCAS && (was == nil || was.Modified != c.Modified) {
			return nil, fmt.Errorf("failed to delete check %q on node %q, index is stale", c.ID, op.Node)
		}
		return nil, x.dropCheck(tx, node, c.ID)
	case skerry.CatalogCAS:
		if !current(was, c.Modified) {
			return nil, fmt.Errorf("failed to set check %q on node %q, index is stale", c.ID, op.Node)
		}
	}
	if c.ID == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide a check ID or a check name")
	}
	if err := x.needNode(tx, op.Node); err != nil {
		return nil, err
	}
	now := *c
	if !x.nameService(tx, op.Node, &now) {
		return nil, skerry.Errorf(skerry.Invalid, "Missing service registration")
	}
	stamp, err := x.putCheck(tx, node, &now)
	now.Stamp = stamp
	return &now, err
}

// needNode returns an error when there is no node to write on. A node that an owner
// announces becomes an external one, as it is.
func (x *Store) needNode(tx *session.Change, name string) error {
	if tx.Get(record.ExternalNodes+record.NodeKey(name)) != nil {
		return nil
	}
	if x.catalog.Owned(name) == nil {
		return skerry.Errorf(skerry.Invalid, "Missing node registration")
	}
	_, err := x.putNode(tx, &skerry.Node{Name: name}, true)
	return err
}

// current reports whether a record was last modified at an index. 0 stands for no record.
func current(is *skerry.Record, modified uint64) bool {
	if modified == 0 {
		return is == nil
	}
	return is != nil && is.Modified == modified
}
