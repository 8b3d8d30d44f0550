package snapshot

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// moves counts the snapshots that were saved, or those that were restored. bytes and at
// are of the last one.
type moves struct{ count, bytes, at atomic.Int64 }

func (m *moves) note(bytes int64) {
	m.count.Add(1)
	m.bytes.Store(bytes)
	m.at.Store(time.Now().UnixMilli())
}

var (
	movesDesc = prometheus.NewDesc("skerry_snapshots_total", "Snapshots that this server saved or restored.", []string{"action"}, nil)
	bytesDesc = prometheus.NewDesc("skerry_snapshot_bytes", "Size of the last snapshot that this server saved or restored.", []string{"action"}, nil)
	atDesc    = prometheus.NewDesc("skerry_snapshot_timestamp_seconds", "When that was, in Unix time.", []string{"action"}, nil)
)

// Describe implements [prometheus.Collector].
func (k *Keeper) Describe(to chan<- *prometheus.Desc) {
	to <- movesDesc
	to <- bytesDesc
	to <- atDesc
}

// Collect implements [prometheus.Collector].
func (k *Keeper) Collect(to chan<- prometheus.Metric) {
	for action, m := range map[string]*moves{"saved": &k.saved, "restored": &k.restored} {
		to <- prometheus.MustNewConstMetric(movesDesc, prometheus.CounterValue, float64(m.count.Load()), action)
		if m.count.Load() > 0 {
			to <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(m.bytes.Load()), action)
			to <- prometheus.MustNewConstMetric(atDesc, prometheus.GaugeValue, float64(m.at.Load())/1000, action)
		}
	}
}
