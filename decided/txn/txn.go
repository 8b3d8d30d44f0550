// Package txn runs transactions: operations on key/value entries and external records that
// are one change.
package txn

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/external"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/session"
)

// Options configure a [Runner].
type Options struct {
	KV       skerry.KV
	Keys     *kv.Store
	Sessions *session.Store
	External *external.Store
}

// Runner runs transactions.
type Runner struct {
	kv       skerry.KV
	keys     *kv.Store
	sessions *session.Store
	external *external.Store
}

// New returns a runner of transactions.
func New(o Options) *Runner {
	return &Runner{kv: o.KV, keys: o.Keys, sessions: o.Sessions, external: o.External}
}

// errRolledBack undoes a transaction in which an operation failed.
var errRolledBack = errors.New("rolled back")

// Txn does all operations in their order as one change, or none of them when one fails.
// Then refused names those that failed. A result that sees does not accept is answered as
// if it were not there. A nil sees accepts all.
func (r *Runner) Txn(ctx context.Context, ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError, err error) {
	index, err := r.sessions.Update(ctx, &kept{&results}, func(tx *session.Change) error {
		results, refused = r.run(tx, ops, sees)
		if len(refused) > 0 {
			return errRolledBack
		}
		return nil
	})
	switch {
	case errors.Is(err, errRolledBack):
		r.keys.NoteTxn(ops, refused)
		return nil, refused, nil
	case err != nil:
		return nil, nil, err
	}
	r.keys.NoteTxn(ops, nil)
	for i := range results {
		stamp(&results[i], index)
	}
	if slices.ContainsFunc(ops, changesCatalog) {
		// A read of the catalog after the transaction must show its writes.
		err = r.external.Await(ctx, index)
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

// Read does operations that only read, as Txn does them, on the quorum store as this
// server has it. It also returns the index of the quorum store.
func (r *Runner) Read(ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError, index uint64, err error) {
	snapshot := &reader{Snapshot: r.kv.Snapshot()}
	results, refused = r.run(r.sessions.Reading(snapshot), ops, sees)
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
	damage error // of a record that was read
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

// stamp fills in the index of the change in a record that the change wrote. The index is
// known only after the change.
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
	case r.Key != nil && r.Key.Modified == 0 && !kv.IsEmpty(r.Key):
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

// run does the operations within a transaction.
func (r *Runner) run(tx *session.Change, ops []skerry.TxnOp, sees func(*skerry.TxnResult) bool) (results []skerry.TxnResult, refused []skerry.TxnError) {
	for i, op := range ops {
		got, err := r.apply(tx, op)
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

// seen returns an operation's results without those that sees does not accept. For those
// a read has the answer that it has when there is nothing to read.
func seen(op *skerry.TxnOp, got []skerry.TxnResult, sees func(*skerry.TxnResult) bool) ([]skerry.TxnResult, error) {
	all := len(got)
	got = slices.DeleteFunc(got, func(r skerry.TxnResult) bool { return !sees(&r) })
	if len(got) == all {
		return got, nil
	}
	switch {
	case op.Key != nil && op.Key.Action == skerry.KeyGet:
		return nil, kv.Missing(op.Key.Key)
	case op.Key != nil && op.Key.Action == skerry.KeyGetOrEmpty:
		return []skerry.TxnResult{{Key: kv.Empty(op.Key.Key)}}, nil
	case op.Node != nil && op.Node.Action == skerry.CatalogGet:
		return nil, external.MissingNode(op.Node.Node.Name)
	case op.Service != nil && op.Service.Action == skerry.CatalogGet:
		return nil, external.MissingService(op.Service.Instance.ID, op.Service.Node)
	case op.Check != nil && op.Check.Action == skerry.CatalogGet:
		return nil, external.MissingCheck(op.Check.Check.ID, op.Check.Node)
	}
	return got, nil
}

// apply does one operation within a transaction.
func (r *Runner) apply(tx *session.Change, op skerry.TxnOp) ([]skerry.TxnResult, error) {
	switch {
	case op.Key != nil:
		return kv.Apply(tx, op.Key)
	case op.Node != nil && !op.Node.Action.Known():
		return nil, fmt.Errorf("unknown node operation: %s", op.Node.Action)
	case op.Service != nil && !op.Service.Action.Known():
		return nil, fmt.Errorf("unknown service operation: %s", op.Service.Action)
	case op.Check != nil && !op.Check.Action.Known():
		return nil, fmt.Errorf("unknown check operation: %s", op.Check.Action)
	case op.Node != nil:
		n, err := r.external.ApplyNode(tx, op.Node)
		if n == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Node: n}}, nil
	case op.Service != nil:
		i, err := r.external.ApplyService(tx, op.Service)
		if i == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Service: i, NodeName: op.Service.Node}}, nil
	case op.Check != nil:
		c, err := r.external.ApplyCheck(tx, op.Check)
		if c == nil || err != nil {
			return nil, err
		}
		return []skerry.TxnResult{{Check: c, NodeName: op.Check.Node}}, nil
	}
	return nil, nil
}
