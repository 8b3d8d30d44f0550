package decided

import (
	"fmt"

	"github.com/skerryhq/skerry"
)

// Operations of transactions on external records: Externals implements
// [CatalogTx]. What is written is what PutExternal writes. What is read is what the
// catalog shows: an owner's record wins over an external one. Only external ones
// can be compared and set.

// ApplyNode implements [CatalogTx].
func (x *Externals) ApplyNode(tx *Change, op *skerry.NodeOp) (*skerry.Node, error) {
	name, key := op.Node.Name, nodeKeyOf(op.Node.Name)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown node operation: %s", op.Action)
	}
	if name == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(extNode + key)
	switch op.Action {
	case skerry.CatalogGet:
		if v := x.Catalog.Owned(name); v != nil {
			return v.Node, nil
		}
		if was == nil {
			return nil, noNode(name)
		}
		return decodeExternal[skerry.Node](was)
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

// ApplyService implements [CatalogTx].
func (x *Externals) ApplyService(tx *Change, op *skerry.ServiceOp) (*skerry.Instance, error) {
	i, node := op.Instance, nodeKeyOf(op.Node)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown service operation: %s", op.Action)
	}
	if op.Node == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(extService + node + "/" + i.ID)
	if op.Action == skerry.CatalogGet {
		if owned := x.ownedInstance(op.Node, i.ID); owned != nil {
			return owned, nil
		}
		if was == nil {
			return nil, noService(i.ID, op.Node)
		}
		return decodeExternal[skerry.Instance](was)
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
	stamp, err := putRecord(tx, extService+node+"/"+i.ID, i)
	now := *i
	now.Stamp = stamp
	return &now, err
}

// ApplyCheck implements [CatalogTx].
func (x *Externals) ApplyCheck(tx *Change, op *skerry.CheckOp) (*skerry.Check, error) {
	c, node := op.Check, nodeKeyOf(op.Node)
	if !op.Action.Known() {
		return nil, fmt.Errorf("unknown check operation: %s", op.Action)
	}
	if op.Node == "" {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide node")
	}
	was := tx.Get(extCheck + node + "/" + c.ID)
	switch op.Action {
	case skerry.CatalogGet:
		if owned := x.ownedCheck(op.Node, c.ID); owned != nil {
			return owned, nil
		}
		if was == nil {
			return nil, noCheck(c.ID, op.Node)
		}
		return decodeExternal[skerry.Check](was)
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

// needNode makes sure that there is a node to write on: an external one, or one
// that an owner announces, which then is kept as it is.
func (x *Externals) needNode(tx *Change, name string) error {
	if tx.Get(extNode+nodeKeyOf(name)) != nil {
		return nil
	}
	if x.Catalog.Owned(name) == nil {
		return skerry.Errorf(skerry.Invalid, "Missing node registration")
	}
	_, err := x.putNode(tx, &skerry.Node{Name: name}, true)
	return err
}

// current reports whether a record is as its writer assumed: 0 assumes none.
func current(is *skerry.Record, assumed uint64) bool {
	if assumed == 0 {
		return is == nil
	}
	return is != nil && is.Modified == assumed
}
