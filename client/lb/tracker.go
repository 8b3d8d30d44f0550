package lb

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	trackedCalls = 64
	leastTracked = 5 // calls that a latency is the median of
	// trackedDecay is the time in which a latency's weight falls to a third while no call
	// ends: a slow instance that has been left alone since must be tried again.
	trackedDecay = 3 * time.Second
)

// Tracker measures a server's [Load], as callers with the policy [Prequal] ask for it.
// The zero value is ready; it is safe for concurrent use.
type Tracker struct {
	mu     sync.Mutex
	flying int
	last   [trackedCalls]tracked
	n      int
	at     time.Duration // when the last one ended
}

type tracked struct {
	beside int // calls that were in flight when it came in
	took   time.Duration
}

// Begin counts a call in, and returns the argument for End: the calls in flight.
func (t *Tracker) Begin() (beside int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying++
	return t.flying - 1
}

// End counts a call out that ends now, on any clock that only goes forward.
func (t *Tracker) End(now time.Duration, beside int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying--
	t.last[t.n%trackedCalls] = tracked{beside, took}
	t.n++
	t.at = now
}

// Load returns the calls in flight, and the median latency of the last calls that came in
// beside about as many. It falls while there are no calls, and is 0 before the first.
func (t *Tracker) Load(now time.Duration) Load {
	t.mu.Lock()
	l := Load{InFlight: t.flying}
	last := t.last // a copy, of which the first are in use
	n, age := min(t.n, trackedCalls), now-t.at
	t.mu.Unlock()
	if n == 0 {
		return l
	}
	near := nearest(last[:n], l.InFlight)
	slices.SortFunc(near, func(a, b tracked) int { return cmp.Compare(a.took, b.took) })
	l.Latency = time.Duration(float64(near[len(near)/2].took) * math.Exp(-float64(max(age, 0))/float64(trackedDecay)))
	return l
}

// nearest moves the calls that came in beside about so many to the front, and returns
// them.
func nearest(calls []tracked, beside int) []tracked {
	off := func(c tracked) int { return max(c.beside-beside, beside-c.beside) }
	least := min(leastTracked, len(calls))
	for i := range least {
		for j := i + 1; j < len(calls); j++ {
			if off(calls[j]) < off(calls[i]) {
				calls[i], calls[j] = calls[j], calls[i]
			}
		}
	}
	return calls[:least]
}
