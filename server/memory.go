package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A registry's heap is mostly what it must remember, and it changes slowly: to
// let it grow to twice its size before collecting, as Go does by default, wastes
// memory. The headroom is a share of what lives, and a fixed amount while that
// is small, so that a small process does not collect all the time.
const (
	leastHeadroom   = 24 << 20 // bytes
	headroomPercent = 30
	mostPercent     = 200
	usualStack      = 4 << 10 // bytes of a goroutine that waits
)

const (
	thriftEvery = 2 * time.Second
	// releaseEvery is the least time between two releases, each of which collects.
	releaseEvery = 10 * time.Second
)

// thrift keeps the headroom, and gives memory back that a burst has left behind:
// by itself Go would keep it while nothing happens.
func thrift(ctx context.Context) {
	m := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	tick := time.NewTicker(thriftEvery)
	defer tick.Stop()
	defer debug.SetGCPercent(100)
	percent := 0
	released := time.Now()
	var quiet quietSince
	for {
		metrics.Read(m)
		live := m[0].Value.Uint64()
		if p := gcPercent(live); p != percent {
			debug.SetGCPercent(p)
			percent = p
		}
		held := m[1].Value.Uint64() + m[2].Value.Uint64() + m[3].Value.Uint64()
		// Goroutines that ended leave their stacks behind until the next collection.
		held += m[4].Value.Uint64() - min(m[4].Value.Uint64(), m[5].Value.Uint64()*usualStack)
		wasteful := held > live+live*headroomPercent/100+leastHeadroom || quiet.stale(m[6].Value.Uint64(), m[1].Value.Uint64()-min(live, m[1].Value.Uint64()))
		if wasteful && time.Since(released) > releaseEvery {
			debug.FreeOSMemory()
			released = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent returns the growth that is allowed above live bytes, in steps of ten.
func gcPercent(live uint64) int {
	percent := leastHeadroom * 100 / max(live, 1)
	return int(min(max(percent/10*10, headroomPercent), mostPercent))
}

// quietSince knows when nothing has been collected for a while although something
// was allocated: what a burst left behind then looks as if it lived.
type quietSince struct {
	cycle uint64
	at    time.Time
}

const (
	quietFor    = 15 * time.Second
	quietAllocs = 8 << 20 // bytes
)

func (q *quietSince) stale(cycle, allocated uint64) bool {
	if cycle != q.cycle {
		q.cycle, q.at = cycle, time.Now()
	}
	return allocated > quietAllocs && time.Since(q.at) > quietFor
}
