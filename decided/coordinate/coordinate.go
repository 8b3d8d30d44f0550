// Package coordinate keeps the network coordinates of nodes. The distance between two
// coordinates estimates the round-trip time between their nodes.
package coordinate

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"sync"
	"time"

	serf "github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

const (
	// storeEvery is the least time between two writes. All coordinates that came
	// meanwhile are in one write: they are frequent, and a late one does no harm.
	storeEvery = time.Second
	// storeAtOnce is the number written in one change. The rest waits for the next.
	storeAtOnce = 100
	// maxCoordinates bounds the number of node names: a coordinate may come before its
	// node does.
	maxCoordinates = 100_000
	// sweepEvery is how often it is looked for nodes that are gone. The coordinate of one that is missing twice is dropped.
	sweepEvery = 10 * time.Minute
)

// Options configure a [Store].
type Options struct {
	KV      skerry.KV
	Catalog skerry.Catalog
	Log     *slog.Logger // default: discard
}

// Store has the network coordinates that agents sent. This server has them at once, the
// quorum store and so the other servers a second later. Without a quorum they are this
// server's alone until there is one.
type Store struct {
	kv      skerry.KV
	catalog skerry.Catalog
	log     *slog.Logger

	mu      sync.Mutex
	byNode  map[string]*serf.Coordinate // by folded name
	pending map[string]*serf.Coordinate // not stored yet
	gone    map[string]bool             // nodes that were missing at the last sweep
	index   uint64
	changed chan struct{}
	arrived chan struct{} // has an element while a coordinate is pending
}

// New returns a store without coordinates. Run brings in the stored ones.
func New(o Options) *Store {
	// A later start must not begin below an index that clients have. The catalog knows
	// how far earlier runs came, also when the clock was set back.
	first, _ := o.Catalog.Watch(skerry.Topic{Kind: skerry.TopicAll})
	return &Store{
		kv: o.KV, catalog: o.Catalog, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		byNode: map[string]*serf.Coordinate{}, pending: map[string]*serf.Coordinate{},
		index:   first,
		changed: make(chan struct{}), arrived: make(chan struct{}, 1),
	}
}

// Update takes a node's new coordinate. Its caller must not write to it any more.
func (c *Store) Update(node string, at *serf.Coordinate) {
	node = skerry.Fold(node)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.set(node, at) {
		return
	}
	c.pending[node] = at
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// set reports whether the coordinate is another than before. It is called with mu held.
func (c *Store) set(node string, at *serf.Coordinate) bool {
	was, known := c.byNode[node]
	if !known && len(c.byNode) >= maxCoordinates || known && reflect.DeepEqual(was, at) {
		return false
	}
	c.byNode[node] = at
	c.moved()
	return true
}

// moved is called with mu held.
func (c *Store) moved() {
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
}

// Get returns a node's coordinate, or nil.
func (c *Store) Get(node string) *serf.Coordinate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byNode[skerry.Fold(node)]
}

// From returns the distances from a node to others in seconds. A distance that is not
// known is +Inf. From returns nil when the node has no coordinate.
func (c *Store) From(node string) func(to string) float64 {
	from := c.Get(node)
	if from == nil {
		return nil
	}
	return func(to string) float64 {
		if at := c.Get(to); at != nil && at.IsCompatibleWith(from) {
			return from.DistanceTo(at).Seconds()
		}
		return math.Inf(1)
	}
}

// All returns the coordinates by folded node name, with the index of the last change.
func (c *Store) All() (map[string]*serf.Coordinate, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byNode), c.index
}

// Changed returns the index of the last change and a channel that is closed at the next
// one.
func (c *Store) Changed() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index, c.changed
}

// Run stores the coordinates that came and takes in those that others stored, until ctx
// ends.
func (c *Store) Run(ctx context.Context) {
	var at uint64
	var due <-chan time.Time // nil until a coordinate came
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		_, stored := c.kv.Watch(skerry.Below(record.Coordinates))
		at = c.takeIn(c.kv.Snapshot(), at)
		select {
		case <-stored:
		case <-c.arrived:
			if due == nil {
				due = time.After(storeEvery)
			}
		case <-due:
			due = nil
			if err := c.store(ctx); err != nil && ctx.Err() == nil {
				c.log.Debug("coordinates wait for the quorum store", "error", err)
			}
		case <-sweep.C:
			if err := c.sweep(ctx); err != nil && ctx.Err() == nil {
				c.log.Debug("coordinates of nodes that are gone stay in the quorum store", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// takeIn takes in the stored coordinates that changed since the index at, and returns
// the index up to which it did.
func (c *Store) takeIn(s skerry.Snapshot, at uint64) uint64 {
	if s.Index() == at {
		return at
	}
	feed, ok := c.kv.(skerry.Feed)
	var keys []string
	if ok = ok && at > 0; ok {
		keys, ok = feed.Changes(record.Coordinates, at)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		for _, key := range keys {
			if r := s.Get(key); r != nil {
				c.read(r)
			} else {
				c.drop(key[len(record.Coordinates):])
			}
		}
		return s.Index()
	}
	for r := range s.All(skerry.Below(record.Coordinates), "") {
		c.read(r)
	}
	return s.Index()
}

// read takes in a stored coordinate. One that came here and is not stored yet is newer.
func (c *Store) read(r *skerry.Record) {
	node := skerry.Fold(r.Key[len(record.Coordinates):]) // earlier releases did not fold it
	if c.pending[node] != nil {
		return
	}
	at := &serf.Coordinate{}
	if err := cmp.Or(r.Damage, json.Unmarshal(r.Value, at)); err != nil {
		c.log.Error("a coordinate is damaged in the store", "node", node, "error", err)
		return
	}
	c.set(node, at)
}

// store writes pending coordinates. Those that it could not write stay pending.
func (c *Store) store(ctx context.Context) error {
	c.mu.Lock()
	some := make(map[string]*serf.Coordinate, min(len(c.pending), storeAtOnce))
	for node, at := range c.pending {
		if c.catalog.Node(node) == nil {
			delete(c.pending, node) // it would be kept for good
		} else if len(some) < storeAtOnce {
			some[node] = at
		}
	}
	c.mu.Unlock()
	if len(some) == 0 {
		return nil
	}
	_, err := c.kv.Update(ctx, func(tx skerry.Tx) error {
		for node, at := range some {
			value, err := json.Marshal(at)
			if err != nil {
				return err
			}
			tx.Put(record.Coordinates+node, value, 0)
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		for node, at := range some {
			if c.pending[node] == at {
				delete(c.pending, node)
			}
		}
	}
	if len(c.pending) > 0 {
		select {
		case c.arrived <- struct{}{}:
		default:
		}
	}
	return err
}

// drop drops a coordinate that another server has removed, unless a new one came here. It is called with mu held.
func (c *Store) drop(node string) {
	node = skerry.Fold(node)
	if c.byNode[node] != nil && c.pending[node] == nil {
		delete(c.byNode, node)
		c.moved()
	}
}

// sweep removes the coordinates of nodes that are gone, some at once.
func (c *Store) sweep(ctx context.Context) error {
	c.mu.Lock()
	was := c.gone
	c.gone = map[string]bool{}
	var drop []string
	for node := range c.byNode {
		if c.catalog.Node(node) != nil {
			continue
		}
		c.gone[node] = true
		if was[node] && len(drop) < storeAtOnce {
			drop = append(drop, node)
		}
	}
	c.mu.Unlock()
	if len(drop) == 0 {
		return nil
	}
	_, err := c.kv.Update(ctx, func(tx skerry.Tx) error {
		for _, node := range drop {
			tx.Delete(record.Coordinates + node)
		}
		return nil
	})
	if err == nil {
		c.mu.Lock()
		for _, node := range drop {
			delete(c.pending, node)
			c.drop(node)
		}
		c.mu.Unlock()
	}
	return err
}
