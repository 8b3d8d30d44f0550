package agent

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// BenchmarkMemory reports the live heap of an instance with a TTL check, in the
// agent, its runner and the catalog together.
func BenchmarkMemory(b *testing.B) {
	const n, callers = 100_000, 64
	for b.Loop() {
		before := liveHeap()
		r := open(b, b.TempDir())
		r.told.deaf = true // it keeps every announcement
		for round := range 2 {
			each(callers, n, func(k int) {
				if round == 1 {
					r.beat(fmt.Sprint("service:instance-", k), skerry.Passing, "")
					return
				}
				i := skerry.Instance{ID: fmt.Sprint("instance-", k), Service: fmt.Sprint("service-", k), Port: 80}
				r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{ttlCheck(time.Hour)}}))
			})
			b.ReportMetric(float64(liveHeap()-before)/n, []string{"B/instance", "B/instance-beaten"}[round])
		}
		runtime.KeepAlive(r)
		r.stop()
	}
}

// each lets callers do 0 … n-1 between them, so that they share their syncs.
func each(callers, n int, do func(k int)) {
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for k := c; k < n; k += callers {
				do(k)
			}
		})
	}
	all.Wait()
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
