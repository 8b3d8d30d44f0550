package decided

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

	"github.com/hashicorp/serf/coordinate"

	"github.com/skerryhq/skerry"
)

const (
	coordPrefix = "coord/" // coord/<folded node name>
	// storeEvery is how often coordinates are written at most: all that came since
	// in one change, as they come all the time and none of them matters much.
	storeEvery = time.Second
	// storeAtOnce is how many are written in one change; the rest waits for the next.
	storeAtOnce = 100
	// maxCoordinates bounds how many node names are kept: a coordinate may come
	// before its node does.
	maxCoordinates = 100_000
)

// Coordinates are the network coordinates that agents sent. This server has them
// at once, the store and so the others within storeEvery; without a quorum
// they are this server's alone until there is one.
type Coordinates struct {
	kv      skerry.KV
	catalog skerry.Catalog
	log     *slog.Logger

	mu      sync.Mutex
	byNode  map[string]*coordinate.Coordinate // by folded name
	pending map[string]*coordinate.Coordinate // not stored yet
	index   uint64
	changed chan struct{}
	arrived chan struct{} // has an element while there is something pending
}

// NewCoordinates returns no coordinates. Run brings in the stored ones.
func NewCoordinates(kv skerry.KV, catalog skerry.Catalog, log *slog.Logger) *Coordinates {
	// A later start must not begin below an index that clients have: the catalog knows
	// how far earlier runs came, also when the clock was set back.
	first, _ := catalog.Watch(skerry.Topic{Kind: skerry.TopicAll})
	return &Coordinates{
		kv: kv, catalog: catalog, log: log,
		byNode: map[string]*coordinate.Coordinate{}, pending: map[string]*coordinate.Coordinate{},
		index:   first,
		changed: make(chan struct{}), arrived: make(chan struct{}, 1),
	}
}

// Update takes a node's new coordinate, which must not be written to any more.
func (c *Coordinates) Update(node string, at *coordinate.Coordinate) {
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

// set reports whether the coordinate is another than before. Called with mu held.
func (c *Coordinates) set(node string, at *coordinate.Coordinate) bool {
	was, known := c.byNode[node]
	if !known && len(c.byNode) >= maxCoordinates || known && reflect.DeepEqual(was, at) {
		return false
	}
	c.byNode[node] = at
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
	return true
}

// Get returns a node's coordinate, or nil.
func (c *Coordinates) Get(node string) *coordinate.Coordinate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byNode[skerry.Fold(node)]
}

// From returns the distances from a node to others in seconds, +Inf where one is
// not known; nil when the node has no coordinate.
func (c *Coordinates) From(node string) func(to string) float64 {
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
func (c *Coordinates) All() (map[string]*coordinate.Coordinate, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byNode), c.index
}

// Changed returns the index of the last change and a channel that is closed at the next.
func (c *Coordinates) Changed() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index, c.changed
}

// Run stores what came and takes in what others stored, until ctx ends.
func (c *Coordinates) Run(ctx context.Context) {
	var at uint64
	var due <-chan time.Time // nil, never, until something came
	for {
		_, stored := c.kv.Watch(skerry.Below(coordPrefix))
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
				c.log.Debug("coordinates wait for the store of decided things", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// takeIn takes in what changed in the store since the index at, and returns the
// index up to which it did. What came here and is not stored yet is newer.
func (c *Coordinates) takeIn(s skerry.Snapshot, at uint64) uint64 {
	if s.Index() == at {
		return at
	}
	feed, ok := c.kv.(skerry.Feed)
	var keys []string
	if ok = ok && at > 0; ok {
		keys, ok = feed.Changes(coordPrefix, at)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		for _, key := range keys {
			if r := s.Get(key); r != nil {
				c.read(r)
			}
		}
		return s.Index()
	}
	for r := range s.All(skerry.Below(coordPrefix), "") {
		c.read(r)
	}
	return s.Index()
}

func (c *Coordinates) read(r *skerry.Record) {
	node := skerry.Fold(r.Key[len(coordPrefix):]) // earlier releases stored it as it was written
	if c.pending[node] != nil {
		return
	}
	at := &coordinate.Coordinate{}
	if err := cmp.Or(r.Damage, json.Unmarshal(r.Value, at)); err != nil {
		c.log.Error("a coordinate is damaged in the store", "node", node, "error", err)
		return
	}
	c.set(node, at)
}

// store writes what is pending. What could not be written stays so.
func (c *Coordinates) store(ctx context.Context) error {
	c.mu.Lock()
	some := make(map[string]*coordinate.Coordinate, min(len(c.pending), storeAtOnce))
	for node, at := range c.pending {
		if c.catalog.Node(node) == nil {
			delete(c.pending, node) // of no node: not worth to be kept for good
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
			tx.Put(coordPrefix+node, value, 0)
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
