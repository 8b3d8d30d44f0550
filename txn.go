package skerry

// MaxTxnOps is the largest number of operations in a transaction, as in Consul.
const MaxTxnOps = 128

// CatalogAction is the action of a transaction's operation on an external record.
type CatalogAction string

const (
	CatalogGet       CatalogAction = "get"        // read; an error if there is no record
	CatalogSet       CatalogAction = "set"        // create or replace
	CatalogCAS       CatalogAction = "cas"        // set if Modified is as given; 0: if there is no record
	CatalogDelete    CatalogAction = "delete"     // delete without a condition
	CatalogDeleteCAS CatalogAction = "delete-cas" // delete if Modified is as given
)

// Known reports whether a is one of these actions.
func (a CatalogAction) Known() bool {
	switch a {
	case CatalogGet, CatalogSet, CatalogCAS, CatalogDelete, CatalogDeleteCAS:
		return true
	}
	return false
}

// NodeOp is an operation on an external node. A CAS compares the record's Modified.
type NodeOp struct {
	Action CatalogAction
	Node   *Node
}

// ServiceOp is an operation on an external instance. A CAS compares the record's
// Modified.
type ServiceOp struct {
	Action   CatalogAction
	Node     string // its name
	Instance *Instance
}

// CheckOp is an operation on an external check. A CAS compares the record's
// Modified.
type CheckOp struct {
	Action CatalogAction
	Node   string // its name
	Check  *Check
}

// TxnOp is one operation of a transaction. Exactly one of its fields is set.
type TxnOp struct {
	Key     *KeyOp
	Node    *NodeOp
	Service *ServiceOp
	Check   *CheckOp
}

// TxnResult is the result of an operation. Exactly one of Key, Node, Service and
// Check is set. NodeName is the node of a service or check.
type TxnResult struct {
	Key      *KeyValue
	Node     *Node
	NodeName string
	Service  *Instance
	Check    *Check
}

// TxnError is the failure of one operation of a transaction.
type TxnError struct {
	Op   int    // the index of the operation
	What string // the message for the user
}

// ReadOnly reports whether a transaction of these operations changes nothing.
func ReadOnly(ops []TxnOp) bool {
	for _, op := range ops {
		switch {
		case op.Key != nil && !op.Key.Action.Reads(),
			op.Node != nil && op.Node.Action != CatalogGet,
			op.Service != nil && op.Service.Action != CatalogGet,
			op.Check != nil && op.Check.Action != CatalogGet:
			return false
		}
	}
	return true
}
