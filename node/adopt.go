package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/journal"
)

// oldExternal are the external records that an older version kept in this server's
// journal. They are moved into the quorum store once it answers, and then removed
// from the journal.
type oldExternal struct {
	log *slog.Logger

	mu     sync.Mutex
	ledger *journal.Ledger
	nodes  map[string]*skerry.Set // by lower-case name
}

// externalRecord is a node in the journal; without Set it is removed.
type externalRecord struct {
	Node string      `json:"node"`
	Set  *skerry.Set `json:"set,omitempty"`
}

const (
	externalKeeper = "external"
	// adoptEvery is the interval of attempts while the store does not answer.
	adoptEvery = 5 * time.Second
)

// move passes all nodes to adopt, until it has accepted them or ctx ends.
func (x *oldExternal) move(ctx context.Context, adopt func(context.Context, *skerry.Set) error) {
	for {
		err := x.moveAll(ctx, adopt)
		if err == nil || ctx.Err() != nil {
			return
		}
		x.log.Warn("external records of an older version wait in the journal for the quorum store", "error", err)
		select {
		case <-time.After(adoptEvery):
		case <-ctx.Done():
			return
		}
	}
}

func (x *oldExternal) moveAll(ctx context.Context, adopt func(context.Context, *skerry.Set) error) error {
	left := x.all()
	for key, set := range left {
		if err := adopt(ctx, set); err != nil {
			return err
		}
		if err := x.forget(key).Wait(ctx); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		x.log.Info("external records of an older version moved into the quorum store", "nodes", len(left))
	}
	return nil
}

func (x *oldExternal) all() map[string]*skerry.Set {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.nodes)
}

func (x *oldExternal) forget(key string) *journal.Batch {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.nodes, key)
	return x.ledger.Append(externalKeeper, externalRecord{Node: key})
}

// Replay implements [journal.Keeper].
func (x *oldExternal) Replay(line []byte) error {
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
func (x *oldExternal) Snapshot(write func(any) error) error {
	for key, set := range x.all() {
		if err := write(externalRecord{Node: key, Set: set}); err != nil {
			return err
		}
	}
	return nil
}
