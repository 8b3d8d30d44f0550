package decided

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skerryhq/skerry"
)

// CatalogTx does the operations on external records within a transaction. Each
// returns the record as it is then (nil for a deletion); an error refuses the
// transaction, and its text is Consul's.
type CatalogTx interface {
	ApplyNode(tx *Change, op *skerry.NodeOp) (*skerry.Node, error)
	ApplyService(tx *Change, op *skerry.ServiceOp) (*skerry.Instance, error)
	ApplyCheck(tx *Change, op *skerry.CheckOp) (*skerry.Check, error)
	// Await returns when the catalog shows all changes up to an index of the store.
	Await(ctx context.Context, index uint64) error
}

// errRolledBack undoes a transaction some of whose operations failed.
var errRolledBack = errors.New("rolled back")

// Txn does all operations in their order as one change, or none of them when one
// fails: then refused names those that did.
//
// What sees does not accept is answered to reads as if it were not there; nil accepts all.
func (s *Store) Txn(ctx context.Context, ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError, err error) {
	index, err := change(ctx, s, s.KV, s.log(), func(tx *Change) error {
		results, refused = s.run(tx, ops, sees)
		if len(refused) > 0 {
			return errRolledBack
		}
		return nil
	})
	switch {
	case errors.Is(err, errRolledBack):
		s.counts.refusedOf(ops, refused)
		return nil, refused, nil
	case err != nil:
		return nil, nil, err
	}
	s.counts.takenOf(ops)
	for i := range results {
		stamp(&results[i], index)
	}
	if s.External != nil && slices.ContainsFunc(ops, changesCatalog) {
		// A read of the catalog after the transaction shows what it wrote.
		err = s.External.Await(ctx, index)
	}
	return results, nil, err
}

// changesCatalog reports whether an operation writes an external record.
func changesCatalog(op skerry.TxnOp) bool {
	switch {
	case op.Node != nil:
		return op.Node.Action != skerry.CatalogGet
	case op.Service != nil:
		return op.Service.Action != skerry.CatalogGet
	case op.Check != nil:
		return op.Check.Action != skerry.CatalogGet
	}
	return false
}

// Read is Txn for operations that change nothing, on the table as this server
// has it. It also returns the table's index.
func (s *Store) Read(ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError, index uint64, err error) {
	snapshot := &reader{Snapshot: s.KV.Snapshot()}
	results, refused = s.run(&Change{Tx: snapshot}, ops, sees)
	if snapshot.damage != nil {
		return nil, nil, 0, snapshot.damage
	}
	if len(refused) > 0 {
		results = nil
	}
	return results, refused, snapshot.Index(), nil
}

// reader is a transaction that only reads.
type reader struct {
	skerry.Snapshot
	damage error // of what was read
}

// Get implements [skerry.Tx].
func (r *reader) Get(key string) *skerry.Record {
	one := r.Snapshot.Get(key)
	if one != nil && one.Damage != nil {
		r.damage = one.Damage
	}
	return one
}

// All implements [skerry.Tx].
func (r *reader) All(prefix string) (out []*skerry.Record) {
	for one := range r.Snapshot.All(skerry.Below(prefix), "") {
		if one.Damage != nil {
			r.damage = one.Damage
		}
		out = append(out, one)
	}
	return out
}

// Put implements [skerry.Tx].
func (*reader) Put(string, []byte, skerry.LeaseID) { panic("a write in a reading transaction") }

// Delete implements [skerry.Tx].
func (*reader) Delete(string) { panic("a write in a reading transaction") }

// DeleteAll implements [skerry.Tx].
func (*reader) DeleteAll(string) { panic("a write in a reading transaction") }

// stamp fills in the index of the change itself, which is known only after it.
func stamp(r *skerry.TxnResult, index uint64) {
	fill := func(created, modified *uint64) {
		if *modified == 0 {
			*modified = index
			if *created == 0 {
				*created = index
			}
		}
	}
	switch {
	case r.Key != nil && r.Key.Modified == 0 && !isNothing(r.Key):
		e := *r.Key
		fill(&e.Created, &e.Modified)
		r.Key = &e
	case r.Node != nil && r.Node.Modified == 0:
		n := *r.Node
		fill(&n.Created, &n.Modified)
		r.Node = &n
	case r.Service != nil && r.Service.Modified == 0:
		i := *r.Service
		fill(&i.Created, &i.Modified)
		r.Service = &i
	case r.Check != nil && r.Check.Modified == 0:
		c := *r.Check
		fill(&c.Created, &c.Modified)
		r.Check = &c
	}
}

// nothing marks the entry that get-or-empty gives for a key that is not there.
var nothing = []byte{}

func isNothing(e *skerry.KeyValue) bool { return e.Value != nil && len(e.Value) == 0 }

func (s *Store) run(tx *Change, ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError) {
	for i, op := range ops {
		got, err := s.runOne(tx, op)
		if err == nil && sees != nil {
			got, err = seen(&op, got, sees)
		}
		if err != nil {
			refused = append(refused, skerry.TxnError{Op: i, What: err.Error()})
			continue
		}
		results = append(results, got...)
	}
	return results, refused
}

// seen is what an operation gave without what may not be seen: for that a read answers
// what it answers when nothing is there.
func seen(op *skerry.TxnOp, got []skerry.TxnResult, sees func(*skerry.TxnResult) bool) ([]skerry.TxnResult, error) {
	all := len(got)
	got = slices.DeleteFunc(got, func(r skerry.TxnResult) bool { return !sees(&r) })
	if len(got) == all {
		return got, nil
	}
	switch {
	case op.Key != nil && op.Key.Action == skerry.KeyGet:
		return nil, noKey(op.Key.Key)
	case op.Key != nil && op.Key.Action == skerry.KeyGetOrEmpty:
		return []skerry.TxnResult{{Key: &skerry.KeyValue{Key: op.Key.Key, Value: nothing}}}, nil
	case op.Node != nil && op.Node.Action == skerry.CatalogGet:
		return nil, noNode(op.Node.Node.Name)
	case op.Service != nil && op.Service.Action == skerry.CatalogGet:
		return nil, noService(op.Service.Instance.ID, op.Service.Node)
	case op.Check != nil && op.Check.Action == skerry.CatalogGet:
		return nil, noCheck(op.Check.Check.ID, op.Check.Node)
	}
	return got, nil
}

// The words for what a read does not find.
func noKey(key string) error   { return fmt.Errorf("key %q doesn't exist", key) }
func noNode(name string) error { return fmt.Errorf("node %q doesn't exist", name) }
func noService(id, node string) error {
	return fmt.Errorf("service %q on node %q doesn't exist", id, node)
}
func noCheck(id, node string) error { return fmt.Errorf("check %q on node %q doesn't exist", id, node) }

func (s *Store) runOne(tx *Change, op skerry.TxnOp) ([]skerry.TxnResult, error) {
	switch {
	case op.Key != nil:
		return runKey(tx, op.Key)
	case op.Node != nil && !op.Node.Action.Known():
		return nil, fmt.Errorf("unknown node operation: %s", op.Node.Action)
	case op.Service != nil && !op.Service.Action.Known():
		return nil, fmt.Errorf("unknown service operation: %s", op.Service.Action)
	case op.Check != nil && !op.Check.Action.Known():
		return nil, fmt.Errorf("unknown check operation: %s", op.Check.Action)
	case op.Node != nil:
		n, err := s.External.ApplyNode(tx, op.Node)
		if n == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Node: n}}, nil
	case op.Service != nil:
		i, err := s.External.ApplyService(tx, op.Service)
		if i == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Service: i, NodeName: op.Service.Node}}, nil
	case op.Check != nil:
		c, err := s.External.ApplyCheck(tx, op.Check)
		if c == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Check: c, NodeName: op.Check.Node}}, nil
	}
	return nil, nil
}

func runKey(tx skerry.Tx, op *skerry.KeyOp) ([]skerry.TxnResult, error) {
	if op.Action.Reads() {
		return readKey(tx, op)
	}
	switch op.Action {
	case skerry.KeyAcquire, skerry.KeyRelease:
		if op.Session == "" {
			return nil, errors.New("missing session")
		}
	}
	if op.Key == "" && op.Action != skerry.KeyDeleteAll {
		return nil, skerry.Errorf(skerry.Invalid, "Must provide key")
	}
	now, done, err := writeKey(tx, op)
	if err != nil {
		return nil, err
	}
	if !done {
		switch op.Action {
		case skerry.KeyCAS:
			return nil, fmt.Errorf("failed to set key %q, index is stale", op.Key)
		case skerry.KeyDeleteCAS:
			return nil, fmt.Errorf("failed to delete key %q, index is stale", op.Key)
		case skerry.KeyAcquire:
			return nil, fmt.Errorf("failed to lock key %q, lock is already held", op.Key)
		default:
			return nil, fmt.Errorf("failed to unlock key %q, lock isn't held, or is held by another session", op.Key)
		}
	}
	if now == nil {
		return nil, nil
	}
	// What was written is told without its value: the client knows it.
	short := *now
	short.Value = nil
	return []skerry.TxnResult{{Key: &short}}, nil
}

func readKey(tx skerry.Tx, op *skerry.KeyOp) ([]skerry.TxnResult, error) {
	if op.Action == skerry.KeyGetAll {
		var out []skerry.TxnResult
		for _, r := range tx.All(keyPrefix + op.Key) {
			e, err := decodeEntry(r)
			if err != nil {
				return nil, err
			}
			out = append(out, skerry.TxnResult{Key: &e})
		}
		return out, nil
	}
	e, err := getEntry(tx, op.Key)
	if err != nil {
		return nil, err
	}
	switch op.Action {
	case skerry.KeyGet:
		if e == nil {
			return nil, noKey(op.Key)
		}
		return []skerry.TxnResult{{Key: e}}, nil
	case skerry.KeyGetOrEmpty:
		if e == nil {
			e = &skerry.KeyValue{Key: op.Key, Value: nothing}
		}
		return []skerry.TxnResult{{Key: e}}, nil
	case skerry.KeyCheckAbsent:
		if e != nil {
			return nil, fmt.Errorf("key %q exists", op.Key)
		}
		return nil, nil
	case skerry.KeyCheckIndex:
		if e == nil {
			return nil, fmt.Errorf("failed to check index, key %q doesn't exist", op.Key)
		}
		if e.Modified != op.Modified {
			return nil, fmt.Errorf("failed index check for key %q, current modify index %d != %d", op.Key, e.Modified, op.Modified)
		}
	case skerry.KeyCheckSession:
		if e == nil {
			return nil, fmt.Errorf("failed to check session, key %q doesn't exist", op.Key)
		}
		if e.Session != op.Session {
			return nil, fmt.Errorf("failed session check for key %q, current session %q != %q", op.Key, e.Session, op.Session)
		}
	}
	short := *e
	short.Value = nil
	return []skerry.TxnResult{{Key: &short}}, nil
}
