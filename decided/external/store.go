// Package external has the nodes, services and checks that outside programs write through
// the catalog, and shows them in it.
package external

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/decided/session"
)

// Catalog is the catalog without the external records. A transaction knows more of
// those: the catalog may show one that the transaction has removed.
type Catalog interface {
	// Owned returns a node as its owners announce it, or nil.
	Owned(node string) *skerry.NodeView
}

// Options configure a [Store].
type Options struct {
	KV        skerry.KV
	Catalog   Catalog
	Announcer skerry.Announcer // shows the records in the catalog
	Sessions  *session.Store   // ends the sessions that are bound to a record
	Log       *slog.Logger     // default: discard
}

// Store has the external records. Run shows them in this server's catalog, and a write
// returns when the catalog shows it.
type Store struct {
	kv        skerry.KV
	catalog   Catalog
	announcer skerry.Announcer
	sessions  *session.Store
	log       *slog.Logger

	mu      sync.Mutex
	shown   uint64 // the index of the quorum store that the catalog shows
	stopped bool
	waiting []waiter
}

// New returns the external records in a quorum store.
func New(o Options) *Store {
	return &Store{
		kv: o.KV, catalog: o.Catalog, announcer: o.Announcer, sessions: o.Sessions,
		log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
}

// PutExternal implements [skerry.External].
func (x *Store) PutExternal(ctx context.Context, r skerry.ExternalRecord) error {
	index, err := x.sessions.Update(ctx, nil, func(tx *session.Change) error {
		if _, err := x.putNode(tx, r.Node, r.KeepNode); err != nil {
			return err
		}
		key := record.NodeKey(r.Node.Name)
		if r.Instance != nil {
			if _, err := put(tx, record.ExternalServices+key+"/"+r.Instance.ID, r.Instance); err != nil {
				return err
			}
		}
		for _, c := range r.Checks {
			if c.ID == "" {
				return skerry.Errorf(skerry.Invalid, "checks: a check needs an id")
			}
			if !x.nameService(tx, r.Node.Name, c) {
				return skerry.Errorf(skerry.Invalid, "Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.ID)
			}
			if _, err := x.putCheck(tx, key, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.Await(ctx, index)
}

// DeleteExternal implements [skerry.External].
func (x *Store) DeleteExternal(ctx context.Context, node, serviceID, checkID string) error {
	index, err := x.sessions.Update(ctx, nil, func(tx *session.Change) error {
		key := record.NodeKey(node)
		switch {
		case serviceID != "":
			return x.dropService(tx, key, serviceID)
		case checkID != "":
			return x.dropCheck(tx, key, checkID)
		}
		return x.dropNode(tx, key)
	})
	if err != nil {
		return err
	}
	return x.Await(ctx, index)
}

// put writes a record unless it is there already. Writing the same record again changes
// nothing. The stamp of a record that was written now has no Modified.
func put(tx skerry.Tx, key string, record interface{ Bounds() error }) (skerry.Stamp, error) {
	if err := record.Bounds(); err != nil {
		return skerry.Stamp{}, err
	}
	value, err := json.Marshal(record)
	if err != nil {
		return skerry.Stamp{}, err
	}
	was := tx.Get(key)
	if was == nil {
		tx.Put(key, value, 0)
		return skerry.Stamp{}, nil
	}
	if bytes.Equal(was.Value, value) {
		return skerry.Stamp{Created: was.Created, Modified: was.Modified}, nil
	}
	tx.Put(key, value, 0)
	return skerry.Stamp{Created: was.Created}, nil
}

// putNode writes a node and returns it as it is then. With keep a node that is there stays
// as it is, also one that an owner announces.
func (x *Store) putNode(tx *session.Change, n *skerry.Node, keep bool) (*skerry.Node, error) {
	key := record.NodeKey(n.Name)
	was := tx.Get(record.ExternalNodes + key)
	if keep {
		if was != nil {
			return record.DecodeExternal[skerry.Node](was)
		}
		if v := x.catalog.Owned(n.Name); v != nil {
			owned := *v.Node
			owned.Stamp = skerry.Stamp{}
			n = &owned
		}
	}
	// An ID belongs to one node: the one that was written last.
	id := strings.ToLower(n.ID)
	if id != "" {
		holder := tx.Get(record.ExternalIDs + id)
		if holder != nil && string(holder.Value) != key {
			if err := x.dropNode(tx, string(holder.Value)); err != nil {
				return nil, err
			}
		}
		if holder == nil || string(holder.Value) != key {
			tx.Put(record.ExternalIDs+id, []byte(key), 0)
		}
	}
	stamp, err := put(tx, record.ExternalNodes+key, n)
	if err != nil {
		return nil, err
	}
	if stamp.Modified == 0 && was != nil && was.Damage == nil {
		old, err := record.DecodeExternal[skerry.Node](was)
		if err != nil {
			return nil, err
		}
		if oldID := strings.ToLower(old.ID); oldID != "" && oldID != id {
			tx.Delete(record.ExternalIDs + oldID)
		}
	}
	now := *n
	now.Stamp = stamp
	return &now, nil
}

// nameService fills in the service that a check belongs to, and reports whether it is
// there. The service may be another owner's on the same node.
func (x *Store) nameService(tx *session.Change, node string, c *skerry.Check) bool {
	if c.ServiceID == "" {
		return true
	}
	i, err := record.DecodeExternal[skerry.Instance](tx.Get(record.ExternalServices + record.NodeKey(node) + "/" + c.ServiceID))
	if err == nil && i == nil {
		i = x.ownedInstance(node, c.ServiceID)
	}
	if i == nil {
		return false
	}
	c.ServiceName, c.ServiceTags = i.Service, i.Tags
	return true
}

// ownedInstance returns an instance that an owner announces on a node, or nil.
func (x *Store) ownedInstance(node, id string) *skerry.Instance {
	if v := x.catalog.Owned(node); v != nil {
		for _, i := range v.Instances {
			if i.ID == id {
				return i
			}
		}
	}
	return nil
}

// ownedCheck returns a check that an owner announces on a node, or nil.
func (x *Store) ownedCheck(node, id string) *skerry.Check {
	if v := x.catalog.Owned(node); v != nil {
		for _, c := range v.Checks {
			if c.ID == id {
				return c
			}
		}
	}
	return nil
}

// putCheck writes a check. A critical check ends the sessions bound to it.
func (x *Store) putCheck(tx *session.Change, node string, c *skerry.Check) (skerry.Stamp, error) {
	key := record.ExternalChecks + node + "/" + c.ID
	was := tx.Get(key)
	stamp, err := put(tx, key, c)
	if err != nil || stamp.Modified != 0 {
		return stamp, err
	}
	if c.Status == skerry.Critical {
		if err := tx.EndWithCheck(node, c.ID, "critical"); err != nil {
			return stamp, err
		}
	}
	if was != nil && was.Damage != nil {
		was = nil // its service is not known: a judge's key may stay
	}
	old, err := record.DecodeExternal[skerry.Check](was)
	if err != nil {
		return stamp, err
	}
	if old != nil && old.ServiceID != c.ServiceID && old.ServiceID != "" {
		tx.Delete(record.JudgeKey(node, old.ServiceID, c.ID))
	}
	if c.ServiceID != "" && (old == nil || old.ServiceID != c.ServiceID) {
		tx.Put(record.JudgeKey(node, c.ServiceID, c.ID), nil, 0)
	}
	return stamp, nil
}

// dropNode removes a node with its services and checks, and ends the sessions bound to
// them. It is no error when there is no such node; dropService and dropCheck are alike.
func (x *Store) dropNode(tx *session.Change, key string) error {
	r := tx.Get(record.ExternalNodes + key)
	if r != nil && r.Damage != nil {
		dropIDs(tx, key)
		r = &skerry.Record{Key: r.Key, Value: []byte("{}")}
	}
	n, err := record.DecodeExternal[skerry.Node](r)
	if err != nil || n == nil {
		return err
	}
	if err := tx.EndWithNode(key); err != nil {
		return err
	}
	if n.ID != "" {
		tx.Delete(record.ExternalIDs + strings.ToLower(n.ID))
	}
	tx.Delete(record.ExternalNodes + key)
	for _, prefix := range []string{record.ExternalServices, record.ExternalChecks, record.ExternalJudges} {
		tx.DeleteAll(prefix + key + "/")
	}
	return nil
}

// dropIDs removes the IDs of a node whose record cannot be read.
func dropIDs(tx skerry.Tx, node string) {
	for _, r := range tx.All(record.ExternalIDs) {
		if r.Damage != nil || string(r.Value) == node {
			tx.Delete(r.Key)
		}
	}
}

// dropService removes a service and its checks, and ends the sessions bound to these.
func (x *Store) dropService(tx *session.Change, node, id string) error {
	if key := record.ExternalServices + node + "/" + id; tx.Get(key) != nil {
		tx.Delete(key)
	}
	prefix := record.JudgeKey(node, id, "")
	for _, r := range tx.All(prefix) {
		check := r.Key[len(prefix):]
		if err := tx.EndWithCheck(node, check, "gone"); err != nil {
			return err
		}
		tx.Delete(r.Key)
		tx.Delete(record.ExternalChecks + node + "/" + check)
	}
	return nil
}

// dropCheck removes a check and ends the sessions bound to it.
func (x *Store) dropCheck(tx *session.Change, node, id string) error {
	r := tx.Get(record.ExternalChecks + node + "/" + id)
	if r != nil {
		if err := tx.EndWithCheck(node, id, "gone"); err != nil {
			return err
		}
	}
	if r != nil && r.Damage != nil {
		for _, judge := range tx.All(record.ExternalJudges + node + "/") {
			if strings.HasSuffix(judge.Key, "/"+id) {
				tx.Delete(judge.Key)
			}
		}
		tx.Delete(r.Key)
		return nil
	}
	c, err := record.DecodeExternal[skerry.Check](r)
	if err != nil || c == nil {
		return err
	}
	if c.ServiceID != "" {
		tx.Delete(record.JudgeKey(node, c.ServiceID, id))
	}
	tx.Delete(record.ExternalChecks + node + "/" + id)
	return nil
}

// adoptAtOnce is how many records are adopted in one change.
const adoptAtOnce = 50

// Adopt takes over a node that an older version kept elsewhere. Records that are in the
// quorum store already are newer and stay. The node is written last: the catalog shows
// none of it before, and after an error Adopt can be called again.
func (x *Store) Adopt(ctx context.Context, set *skerry.Set) error {
	key := record.NodeKey(set.Node.Name)
	var puts []func(*session.Change) error
	for _, i := range set.Instances {
		puts = append(puts, func(tx *session.Change) error {
			if tx.Get(record.ExternalServices+key+"/"+i.ID) != nil {
				return nil
			}
			_, err := put(tx, record.ExternalServices+key+"/"+i.ID, i)
			return err
		})
	}
	for _, c := range set.Checks {
		puts = append(puts, func(tx *session.Change) error {
			if tx.Get(record.ExternalChecks+key+"/"+c.ID) != nil {
				return nil
			}
			_, err := x.putCheck(tx, key, c)
			return err
		})
	}
	puts = append(puts, func(tx *session.Change) error {
		if tx.Get(record.ExternalNodes+key) != nil {
			return nil
		}
		_, err := x.putNode(tx, set.Node, false)
		return err
	})
	for len(puts) > 0 {
		some := puts[:min(len(puts), adoptAtOnce)]
		puts = puts[len(some):]
		_, err := x.sessions.Update(ctx, nil, func(tx *session.Change) error {
			for _, put := range some {
				if err := put(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
