package server

import (
	"maps"
	"math"
	"sync"

	"github.com/hashicorp/serf/coordinate"
)

// coordinates are the network coordinates that agents sent.
type coordinates struct {
	mu      sync.Mutex
	byNode  map[string]*coordinate.Coordinate
	index   uint64
	changed chan struct{}
}

// maxCoordinates bounds how many node names are kept: a coordinate may come
// before its node does.
const maxCoordinates = 100_000

func newCoordinates() *coordinates {
	return &coordinates{byNode: map[string]*coordinate.Coordinate{}, index: 1, changed: make(chan struct{})}
}

// Update implements [consul.Coordinates].
func (c *coordinates) Update(node string, at *coordinate.Coordinate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.byNode[node]; !known && len(c.byNode) >= maxCoordinates {
		return
	}
	c.byNode[node] = at
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
}

// Get implements [consul.Coordinates].
func (c *coordinates) Get(node string) *coordinate.Coordinate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byNode[node]
}

// From implements [consul.Coordinates].
func (c *coordinates) From(node string) func(to string) float64 {
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

// All implements [consul.Coordinates].
func (c *coordinates) All() (map[string]*coordinate.Coordinate, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byNode), c.index
}

// Changed implements [consul.Coordinates].
func (c *coordinates) Changed() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.index, c.changed
}
