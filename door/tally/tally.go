// Package tally counts the open connections or requests of each address, up to a limit.
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

// New returns a Tally with a limit of most for each address; -1: no limit.
func New(most int) *Tally {
	return &Tally{most: most, open: map[netip.Addr]int{}}
}

// Enter counts one more of an address. It reports false if the address is at its limit.
func (t *Tally) Enter(a netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.most >= 0 && t.open[a] >= t.most {
		return false
	}
	t.open[a]++
	return true
}

// Leave undoes one call of Enter.
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
