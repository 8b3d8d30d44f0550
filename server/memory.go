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
)

func thrift(ctx context.Context) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	defer debug.SetGCPercent(100)
	last := 0
	for {
		metrics.Read(live)
		if percent := gcPercent(live[0].Value.Uint64()); percent != last {
			debug.SetGCPercent(percent)
			last = percent
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
