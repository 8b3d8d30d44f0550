package skerry

// MaxTxnOps is how many operations one transaction may have, as in Consul.
const MaxTxnOps = 128

// CatalogAction is what an operation of a transaction does to an external record.
type CatalogAction string

const (
	CatalogGet       CatalogAction = "get"
	CatalogSet       CatalogAction = "set"
	CatalogCAS       CatalogAction = "cas" // set if Modified is as given; 0: if it is not there
	CatalogDelete    CatalogAction = "delete"
	CatalogDeleteCAS CatalogAction = "delete-cas"
)

// Known reports whether a is one of these actions.
func (a CatalogAction) Known() bool {
	switch a {
	case CatalogGet, CatalogSet, CatalogCAS, CatalogDelete, CatalogDeleteCAS:
		return true
	}
	return false
}

// NodeOp, ServiceOp and CheckOp are operations on external records. The record's
// Modified is what a CAS compares.
type NodeOp struct {
	Action CatalogAction
	Node   *Node
}

type ServiceOp struct {
	Action   CatalogAction
	Node     string // its name
	Instance *Instance
}

type CheckOp struct {
	Action CatalogAction
	Node   string // its name
	Check  *Check
}

// TxnOp is one operation of a transaction: one of its fields is set.
type TxnOp struct {
	Key     *KeyOp
	Node    *NodeOp
	Service *ServiceOp
	Check   *CheckOp
}

// TxnResult is what an operation gave: one of its fields is set. NodeName is the
// node of a service or check.
type TxnResult struct {
	Key      *KeyValue
	Node     *Node
	NodeName string
	Service  *Instance
	Check    *Check
}

// TxnError says which operation made a transaction fail, and why.
type TxnError struct {
	Op   int // its place among the operations
	What string
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
