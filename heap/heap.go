// Package heap lets the heap grow while there is work, and returns memory to the system
// while there is none.
package heap

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Under load the heap may grow well beyond the live objects: collecting is half the
// cost of a registration otherwise. A registry is mostly quiet, though, and Go by
// itself would keep the garbage of a burst. So after a quiet time, garbage beyond
// these bounds is collected and its memory returned to the system.
const (
	headroom    = 128 << 20 // bytes of growth to aim for
	mostPercent = 400

	lookEvery     = 2 * time.Second
	quietFor      = 6 * time.Second // without a collection
	releaseEvery  = 10 * time.Second
	wastedPercent = 30      // of the live bytes
	wastedLeast   = 8 << 20 // bytes
	usualStack    = 4 << 10 // bytes of a goroutine that waits
)

// Run sets how far the heap may grow, until ctx ends.
func Run(ctx context.Context) {
	m := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(100)
	released, collected, cycle, percent := time.Now(), time.Now(), uint64(0), 0
	begun := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(m)
		v := func(i int) uint64 { return m[i].Value.Uint64() }
		if p := growth(v(1)); p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		if v(0) != cycle {
			cycle, collected = v(0), time.Now()
		}
		if time.Since(collected) < quietFor || time.Since(released) < releaseEvery {
			continue
		}
		if !begun { // the start is over
			begun = true
			_ = releaseBinary() // without it nothing is worse than before
		}
		live, stacks := v(1), v(5)
		// Objects beyond those live at the last collection may be garbage, and so may the
		// stacks of goroutines that have ended since.
		wasted := v(2) - min(live, v(2)) + v(3) + v(4) + stacks - min(stacks, v(6)*usualStack)
		if wasted > wastedLeast && (wasted > live*wastedPercent/100 || v(2) > live+wastedLeast) {
			debug.FreeOSMemory()
			released = time.Now()
		}
	}
}

// growth returns the growth of the heap beyond live bytes, in per cent.
func growth(live uint64) int {
	return int(min(max(headroom*100/max(live, 1)/10*10, 100), mostPercent))
}
