package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/journal"
)

// external are the records that outside programs write through the catalog: one
// owner in the catalog for each node.
type external struct {
	announcer skerry.Announcer
	catalog   skerry.Catalog
	epoch     uint64

	mu     sync.Mutex
	ledger *journal.Ledger
	nodes  map[string]*skerry.Set // by lower-case name
	seq    uint64
}

// externalRecord is a node as it is now; without set it is gone.
type externalRecord struct {
	Node string      `json:"node"`
	Set  *skerry.Set `json:"set,omitempty"`
}

const (
	externalKeeper = "external"
	externalPrefix = "external/"
)

func newExternal(a skerry.Announcer, c skerry.Catalog) *external {
	return &external{announcer: a, catalog: c, epoch: uint64(time.Now().UnixMilli()), nodes: map[string]*skerry.Set{}}
}

// PutExternal implements [skerry.External].
func (x *external) PutExternal(_ context.Context, r skerry.ExternalRecord) error {
	x.mu.Lock()
	if err := x.ledger.Broken(); err != nil {
		x.mu.Unlock()
		return skerry.Errorf(skerry.Unavailable, "the record cannot be written to disk now: %w", err)
	}
	set, err := x.merge(&r)
	if err != nil {
		x.mu.Unlock()
		return err
	}
	stolen := x.takeID(r.Node)
	batch, err := x.put(set)
	x.mu.Unlock()
	if err != nil {
		return err
	}
	for _, b := range []*journal.Batch{stolen, batch} {
		if b != nil {
			if err := b.Wait(); err != nil {
				return skerry.Errorf(skerry.Unavailable, "the record could not be written to disk: %w", err)
			}
		}
	}
	return nil
}

// merge returns the node's new set. The old one is shared with the catalog and
// is not written to.
func (x *external) merge(r *skerry.ExternalRecord) (*skerry.Set, error) {
	key := strings.ToLower(r.Node.Name)
	set := &skerry.Set{Node: r.Node}
	if old := x.nodes[key]; old != nil {
		set.Instances, set.Checks = slices.Clone(old.Instances), slices.Clone(old.Checks)
		if r.KeepNode {
			set.Node = old.Node
		}
	} else if v := x.catalog.Node(r.Node.Name); v != nil && r.KeepNode {
		node := *v.Node
		node.Stamp = skerry.Stamp{}
		set.Node = &node
	}
	if i := r.Instance; i != nil {
		at, found := slices.BinarySearchFunc(set.Instances, i.ID, func(a *skerry.Instance, id string) int { return strings.Compare(a.ID, id) })
		if found {
			set.Instances[at] = i
		} else {
			set.Instances = slices.Insert(set.Instances, at, i)
		}
	}
	for _, c := range r.Checks {
		if err := x.nameService(set, c); err != nil {
			return nil, err
		}
		at, found := slices.BinarySearchFunc(set.Checks, c.ID, func(a *skerry.Check, id string) int { return strings.Compare(a.ID, id) })
		if found {
			set.Checks[at] = c
		} else {
			set.Checks = slices.Insert(set.Checks, at, c)
		}
	}
	return set, nil
}

// nameService fills in the service that a check belongs to. It may be another
// owner's, on the same node.
func (x *external) nameService(set *skerry.Set, c *skerry.Check) error {
	if c.ServiceID == "" {
		return nil
	}
	instances := set.Instances
	if v := x.catalog.Node(set.Node.Name); v != nil {
		instances = slices.Concat(instances, v.Instances)
	}
	for _, i := range instances {
		if i.ID == c.ServiceID {
			c.ServiceName, c.ServiceTags = i.Service, i.Tags
			return nil
		}
	}
	return skerry.Errorf(skerry.Invalid, "Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.ID)
}

// takeID takes a node ID away from another external node: IDs are unique, and
// the last writer has it.
func (x *external) takeID(n *skerry.Node) *journal.Batch {
	var batch *journal.Batch
	for key, set := range x.nodes {
		if n.ID != "" && set.Node.ID == n.ID && key != strings.ToLower(n.Name) {
			delete(x.nodes, key)
			x.announcer.Withdraw(skerry.OwnerID(externalPrefix + key))
			batch = x.ledger.Append(externalKeeper, externalRecord{Node: key})
		}
	}
	return batch
}

// put announces the set and keeps it. Called with mu held.
func (x *external) put(set *skerry.Set) (*journal.Batch, error) {
	key := strings.ToLower(set.Node.Name)
	if _, err := x.announce(key, set); err != nil {
		return nil, err
	}
	x.nodes[key] = set
	return x.ledger.Append(externalKeeper, externalRecord{Node: key, Set: set}), nil
}

func (x *external) announce(key string, set *skerry.Set) (skerry.Outcome, error) {
	x.seq++
	return x.announcer.Announce(skerry.Announcement{
		Owner: skerry.OwnerID(externalPrefix + key), Kind: skerry.ExternalOwner, Set: set,
		Version: skerry.Version{Epoch: x.epoch, Seq: x.seq},
	})
}

// DeleteExternal implements [skerry.External].
func (x *external) DeleteExternal(_ context.Context, node, serviceID, checkID string) error {
	x.mu.Lock()
	key := strings.ToLower(node)
	old := x.nodes[key]
	if old == nil {
		x.mu.Unlock()
		return nil
	}
	var batch *journal.Batch
	var err error
	if serviceID == "" && checkID == "" {
		delete(x.nodes, key)
		x.announcer.Withdraw(skerry.OwnerID(externalPrefix + key))
		batch = x.ledger.Append(externalKeeper, externalRecord{Node: key})
	} else {
		set := &skerry.Set{Node: old.Node}
		for _, i := range old.Instances {
			if serviceID == "" || i.ID != serviceID {
				set.Instances = append(set.Instances, i)
			}
		}
		for _, c := range old.Checks {
			if serviceID != "" && c.ServiceID == serviceID || serviceID == "" && c.ID == checkID {
				continue
			}
			set.Checks = append(set.Checks, c)
		}
		batch, err = x.put(set)
	}
	x.mu.Unlock()
	if err != nil {
		return err
	}
	return batch.Wait()
}

// start announces what was replayed.
func (x *external) start(ledger *journal.Ledger) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ledger = ledger
	for key, set := range x.nodes {
		if _, err := x.announce(key, set); err != nil {
			return fmt.Errorf("announce the restored node %q: %w", key, err)
		}
	}
	return nil
}

// Replay implements [journal.Keeper].
func (x *external) Replay(line []byte) error {
	var r externalRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	switch {
	case r.Node == "":
		return fmt.Errorf("an external record without node")
	case r.Set == nil:
		delete(x.nodes, r.Node)
	case r.Set.Node == nil:
		return fmt.Errorf("an external record without its node's own record")
	default:
		x.nodes[r.Node] = r.Set
	}
	return nil
}

// Snapshot implements [journal.Keeper].
func (x *external) Snapshot(write func(any) error) error {
	x.mu.Lock()
	records := make([]externalRecord, 0, len(x.nodes))
	for key, set := range x.nodes {
		records = append(records, externalRecord{Node: key, Set: set})
	}
	x.mu.Unlock()
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
	}
	return nil
}
