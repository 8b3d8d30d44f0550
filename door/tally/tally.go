// Package tally counts what each client address has open, up to a limit.
package tally

import (
	"net/netip"
	"sync"
)

// Tally counts by address. It may be used by many goroutines.
type Tally struct {
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// New returns a Tally that lets an address have at most most; -1: no limit.
func New(most int) *Tally {
	return &Tally{most: most, open: map[netip.Addr]int{}}
}

// Enter counts one more of an address, and reports false if it has as many as it may.
func (t *Tally) Enter(a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.most >= 0 && t.open[a] >= t.most {
		return false
	}
	t.open[a]++
	return true
}

// Leave takes back one that Enter counted.
func (t *Tally) Leave(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[a]--; t.open[a] == 0 {
		delete(t.open, a)
	}
}

// Len returns the number of addresses that have something open.
func (t *Tally) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
