package decided

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// The keys of external records: one for each node, service and check, so that the
// cost of a write does not depend on how many there are. Node names are in lower
// case; a "/" in a name is escaped.
const (
	extPrefix  = "ext/"
	extNode    = "ext/node/"    // ext/node/<node>
	extService = "ext/service/" // ext/service/<node>/<id>
	extCheck   = "ext/check/"   // ext/check/<node>/<id>
	extID      = "ext/id/"      // ext/id/<node id> → the node that has it
	extJudge   = "ext/judge/"   // ext/judge/<node>/<service id>/<check id>
)

var escaper = strings.NewReplacer("%", "%25", "/", "%2F")

func escape(s string) string {
	if strings.ContainsAny(s, "%/") {
		return escaper.Replace(s)
	}
	return s
}

// nodeKeyOf is a node's part of its keys.
func nodeKeyOf(name string) string { return escape(skerry.Fold(name)) }

func judgeKey(node, service, check string) string {
	return extJudge + node + "/" + escape(service) + "/" + check
}

// Owned is the catalog without the external records. Of those the transaction at
// hand knows better: the catalog may show what it has just removed.
type Owned interface {
	// Owned returns a node as its owners announce it, or nil.
	Owned(node string) *skerry.NodeView
}

// Externals are the records that outside programs write through the catalog. Run
// shows them in it; a write returns when this server's catalog shows it.
type Externals struct {
	KV        skerry.KV
	Catalog   Owned
	Announcer skerry.Announcer
	// Store counts the sessions that end with a record; nil: they are not counted.
	Store *Store
	Log   *slog.Logger

	mu      sync.Mutex
	shown   uint64 // the store's index that the catalog shows
	stopped bool
	waiting []shownWaiter
}

// PutExternal implements [skerry.External].
func (x *Externals) PutExternal(ctx context.Context, r skerry.ExternalRecord) error {
	index, err := x.update(ctx, func(tx *Change) error {
		if _, err := x.putNode(tx, r.Node, r.KeepNode); err != nil {
			return err
		}
		key := nodeKeyOf(r.Node.Name)
		if r.Instance != nil {
			if _, err := putRecord(tx, extService+key+"/"+r.Instance.ID, r.Instance); err != nil {
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
func (x *Externals) DeleteExternal(ctx context.Context, node, serviceID, checkID string) error {
	index, err := x.update(ctx, func(tx *Change) error {
		key := nodeKeyOf(node)
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

// putRecord writes a record unless it is there already: writing the same again
// changes nothing. The stamp has no Modified when it was written now.
func putRecord(tx skerry.Tx, key string, record interface{ Bounds() error }) (skerry.Stamp, error) {
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

// decodeExternal returns the record at a key, with the store's stamp; nil when it
// is not there.
func decodeExternal[T any, P interface {
	*T
	SetStamp(skerry.Stamp)
}](r *skerry.Record) (P, error) {
	if r == nil {
		return nil, nil
	}
	if r.Damage != nil {
		return nil, r.Damage
	}
	v := P(new(T))
	if err := json.Unmarshal(r.Value, v); err != nil {
		return nil, fmt.Errorf("the external record %q is damaged in the store: %w", r.Key, err)
	}
	v.SetStamp(skerry.Stamp{Created: r.Created, Modified: r.Modified})
	return v, nil
}

// putNode writes a node, or with keep leaves one of that name as it is: also one
// that an owner announces. It returns the node as it is then.
func (x *Externals) putNode(tx *Change, n *skerry.Node, keep bool) (*skerry.Node, error) {
	key := nodeKeyOf(n.Name)
	was := tx.Get(extNode + key)
	if keep {
		if was != nil {
			return decodeExternal[skerry.Node](was)
		}
		if v := x.Catalog.Owned(n.Name); v != nil {
			owned := *v.Node
			owned.Stamp = skerry.Stamp{}
			n = &owned
		}
	}
	// A node's ID is its alone: the last writer has it.
	id := strings.ToLower(n.ID)
	if id != "" {
		holder := tx.Get(extID + id)
		if holder != nil && string(holder.Value) != key {
			if err := x.dropNode(tx, string(holder.Value)); err != nil {
				return nil, err
			}
		}
		if holder == nil || string(holder.Value) != key {
			tx.Put(extID+id, []byte(key), 0)
		}
	}
	stamp, err := putRecord(tx, extNode+key, n)
	if err != nil {
		return nil, err
	}
	if stamp.Modified == 0 && was != nil && was.Damage == nil {
		old, err := decodeExternal[skerry.Node](was)
		if err != nil {
			return nil, err
		}
		if oldID := strings.ToLower(old.ID); oldID != "" && oldID != id {
			tx.Delete(extID + oldID)
		}
	}
	now := *n
	now.Stamp = stamp
	return &now, nil
}

// nameService fills in the service that a check belongs to. It may be another
// owner's, on the same node. It reports whether there is one.
func (x *Externals) nameService(tx *Change, node string, c *skerry.Check) bool {
	if c.ServiceID == "" {
		return true
	}
	i, err := decodeExternal[skerry.Instance](tx.Get(extService + nodeKeyOf(node) + "/" + c.ServiceID))
	if err == nil && i == nil {
		i = x.ownedInstance(node, c.ServiceID)
	}
	if i == nil {
		return false
	}
	c.ServiceName, c.ServiceTags = i.Service, i.Tags
	return true
}

// ownedInstance and ownedCheck return what an owner announces on a node, or nil.
func (x *Externals) ownedInstance(node, id string) *skerry.Instance {
	if v := x.Catalog.Owned(node); v != nil {
		for _, i := range v.Instances {
			if i.ID == id {
				return i
			}
		}
	}
	return nil
}

func (x *Externals) ownedCheck(node, id string) *skerry.Check {
	if v := x.Catalog.Owned(node); v != nil {
		return checkOf(v, id)
	}
	return nil
}

// putCheck writes a check. One that is critical ends the sessions bound to it.
func (x *Externals) putCheck(tx *Change, node string, c *skerry.Check) (skerry.Stamp, error) {
	key := extCheck + node + "/" + c.ID
	was := tx.Get(key)
	stamp, err := putRecord(tx, key, c)
	if err != nil || stamp.Modified != 0 {
		return stamp, err
	}
	if c.Status == skerry.Critical {
		if err := x.endWith(tx, node, c.ID, "critical"); err != nil {
			return stamp, err
		}
	}
	if was != nil && was.Damage != nil {
		was = nil // which service it belonged to is not known: a judge of it may stay
	}
	old, err := decodeExternal[skerry.Check](was)
	if err != nil {
		return stamp, err
	}
	if old != nil && old.ServiceID != c.ServiceID && old.ServiceID != "" {
		tx.Delete(judgeKey(node, old.ServiceID, c.ID))
	}
	if c.ServiceID != "" && (old == nil || old.ServiceID != c.ServiceID) {
		tx.Put(judgeKey(node, c.ServiceID, c.ID), nil, 0)
	}
	return stamp, nil
}

// dropNode removes a node with all that is on it, and ends the sessions bound to
// that. The unknown is no error, here and below.
func (x *Externals) dropNode(tx *Change, key string) error {
	r := tx.Get(extNode + key)
	if r != nil && r.Damage != nil {
		dropIDs(tx, key)
		r = &skerry.Record{Key: r.Key, Value: []byte("{}")}
	}
	n, err := decodeExternal[skerry.Node](r)
	if err != nil || n == nil {
		return err
	}
	if err := x.endWithNode(tx, key); err != nil {
		return err
	}
	if n.ID != "" {
		tx.Delete(extID + strings.ToLower(n.ID))
	}
	tx.Delete(extNode + key)
	for _, prefix := range []string{extService, extCheck, extJudge} {
		tx.DeleteAll(prefix + key + "/")
	}
	return nil
}

// dropIDs removes the IDs that lead to a node whose record cannot be read.
func dropIDs(tx skerry.Tx, node string) {
	for _, r := range tx.All(extID) {
		if r.Damage != nil || string(r.Value) == node {
			tx.Delete(r.Key)
		}
	}
}

// dropService removes a service and its checks.
func (x *Externals) dropService(tx *Change, node, id string) error {
	if key := extService + node + "/" + id; tx.Get(key) != nil {
		tx.Delete(key)
	}
	prefix := judgeKey(node, id, "")
	for _, r := range tx.All(prefix) {
		check := r.Key[len(prefix):]
		if err := x.endWith(tx, node, check, "gone"); err != nil {
			return err
		}
		tx.Delete(r.Key)
		tx.Delete(extCheck + node + "/" + check)
	}
	return nil
}

func (x *Externals) dropCheck(tx *Change, node, id string) error {
	r := tx.Get(extCheck + node + "/" + id)
	if r != nil {
		if err := x.endWith(tx, node, id, "gone"); err != nil {
			return err
		}
	}
	if r != nil && r.Damage != nil {
		for _, judge := range tx.All(extJudge + node + "/") {
			if strings.HasSuffix(judge.Key, "/"+id) {
				tx.Delete(judge.Key)
			}
		}
		tx.Delete(r.Key)
		return nil
	}
	c, err := decodeExternal[skerry.Check](r)
	if err != nil || c == nil {
		return err
	}
	if c.ServiceID != "" {
		tx.Delete(judgeKey(node, c.ServiceID, id))
	}
	tx.Delete(extCheck + node + "/" + id)
	return nil
}

// adoptAtOnce is how many records are adopted in one change.
const adoptAtOnce = 50

// Adopt takes over a node that an older version kept elsewhere. What is in the
// store already is newer and stays. The node comes last: until then nothing of it
// is seen, and adopting it again goes on where it stopped.
func (x *Externals) Adopt(ctx context.Context, set *skerry.Set) error {
	key := nodeKeyOf(set.Node.Name)
	var puts []func(*Change) error
	for _, i := range set.Instances {
		puts = append(puts, func(tx *Change) error {
			if tx.Get(extService+key+"/"+i.ID) != nil {
				return nil
			}
			_, err := putRecord(tx, extService+key+"/"+i.ID, i)
			return err
		})
	}
	for _, c := range set.Checks {
		puts = append(puts, func(tx *Change) error {
			if tx.Get(extCheck+key+"/"+c.ID) != nil {
				return nil
			}
			_, err := x.putCheck(tx, key, c)
			return err
		})
	}
	puts = append(puts, func(tx *Change) error {
		if tx.Get(extNode+key) != nil {
			return nil
		}
		_, err := x.putNode(tx, set.Node, false)
		return err
	})
	for len(puts) > 0 {
		some := puts[:min(len(puts), adoptAtOnce)]
		puts = puts[len(some):]
		_, err := x.update(ctx, func(tx *Change) error {
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
