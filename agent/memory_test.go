package agent

import (
	"fmt"
	"runtime"
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
		r.told.Table = nil // it keeps every announcement
		r.Agent.catalog = r.table
		done := make(chan struct{})
		for c := range callers {
			go func() {
				for k := c; k < n; k += callers {
					i := skerry.Instance{ID: fmt.Sprint("instance-", k), Service: fmt.Sprint("service-", k), Port: 80}
					r.ok(r.RegisterService(r.ctx(), skerry.Registration{Instance: &i, Checks: []skerry.CheckDefinition{ttlCheck(time.Hour)}}))
				}
				done <- struct{}{}
			}()
		}
		for range callers {
			<-done
		}
		b.ReportMetric(float64(liveHeap()-before)/n, "B/instance")
		for k := range n {
			r.beat(fmt.Sprint("service:instance-", k), skerry.Passing, "")
		}
		b.ReportMetric(float64(liveHeap()-before)/n, "B/instance-beaten")
		runtime.KeepAlive(r)
		r.stop()
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
