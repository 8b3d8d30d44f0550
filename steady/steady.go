// Package steady tells time that stands still while this process does: after a
// pause of the process (a stopped container, a starved CPU, a blocked disk) nobody
// may be judged for the time in which nobody could have been heard.
package steady

import (
	"sync/atomic"
	"time"
)

// slack is what a tick may be late beyond twice its period before the lateness
// counts as a stall: schedulers and garbage collectors are late by less.
const slack = 500 * time.Millisecond

// Clock subtracts stalls from time. The zero value is ready to use, and all
// methods may be called at once from many goroutines.
//
// Somebody must call [Clock.Observe] regularly; a clock that is never told of a
// tick counts no stalls.
type Clock struct {
	start   atomic.Pointer[time.Time] // of the first Observe
	last    atomic.Int64              // the latest Observe, since start
	stalled atomic.Int64
}

// Observe says that the process runs at now, and that it is told so every
// expected. When the gap since the Observe before is more than twice expected and
// half a second, what it is longer than expected counts as stalled. Calling it
// more often than expected does no harm, and a now before the latest is ignored.
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
