// Package steady is a clock that stops while this process does: after a pause of the
// process (a stopped container, a starved CPU, a blocked disk) the pause must not count
// as the silence of others.
package steady

import (
	"sync/atomic"
	"time"
)

// slack is how late a tick may be beyond twice its period before it counts as a stall:
// schedulers and garbage collectors are late by less.
const slack = 500 * time.Millisecond

// Clock subtracts stalls from time. The zero value is ready to use, and all
// methods may be called at once from many goroutines.
//
// [Clock.Observe] must be called regularly; without it, a clock counts no stalls.
type Clock struct {
	start   atomic.Pointer[time.Time] // of the first Observe
	last    atomic.Int64              // the latest Observe, since start
	stalled atomic.Int64
}

// Observe records that the process runs at now, and that the next call is expected after
// this time. If the gap since the last call is more than twice expected and half a
// second, its excess over expected counts as stalled. Calling it more often than expected
// does no harm, and a now before the latest is ignored.
func (c *Clock) Observe(now time.Time, expected time.Duration) {
	start := c.start.Load()
	if start == nil {
		start = c.begin(now)
	}
	at := int64(now.Sub(*start))
	for {
		last := c.last.Load()
		if at <= last {
			return
		}
		if !c.last.CompareAndSwap(last, at) {
			continue
		}
		if gap := time.Duration(at - last); gap > 2*expected+slack {
			c.stalled.Add(int64(gap - expected))
		}
		return
	}
}

// begin is apart from Observe, so that only the first one allocates.
func (c *Clock) begin(now time.Time) *time.Time {
	c.start.CompareAndSwap(nil, &now)
	return c.start.Load()
}

// Stalled returns the total of the stalls so far.
func (c *Clock) Stalled() time.Duration { return time.Duration(c.stalled.Load()) }

// Effective returns now minus all stalls so far. Of two effective times the
// difference is the time in which the process ran.
func (c *Clock) Effective(now time.Time) time.Time { return now.Add(-c.Stalled()) }

// Now returns the effective time of the present.
func (c *Clock) Now() time.Time { return c.Effective(time.Now()) }
