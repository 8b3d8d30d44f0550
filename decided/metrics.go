package decided

import (
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// counts are of what this server did since its start.
type counts struct {
	ended           [endings]atomic.Uint64
	taken, refused  atomic.Uint64
	saved, restored moves
}

// lock notes how an attempt to take a lock went. One that named no living session
// is a refusal too; one that the store did not take is neither.
func (c *counts) lock(done bool, err error) {
	switch {
	case done:
		c.taken.Add(1)
	case err == nil || skerry.KindOf(err) == skerry.Invalid:
		c.refused.Add(1)
	}
}

// takenOf notes the locks that a transaction took.
func (c *counts) takenOf(ops []skerry.TxnOp) {
	for _, op := range ops {
		if op.Key != nil && op.Key.Action == skerry.KeyAcquire {
			c.taken.Add(1)
		}
	}
}

// refusedOf notes the locks that made a transaction fail.
func (c *counts) refusedOf(ops []skerry.TxnOp, refused []skerry.TxnError) {
	for _, r := range refused {
		if op := ops[r.Op]; op.Key != nil && op.Key.Action == skerry.KeyAcquire {
			c.refused.Add(1)
		}
	}
}

// moves are the snapshots that went one way.
type moves struct{ count, bytes, at atomic.Int64 }

// note notes one; bytes and at are of the last.
func (m *moves) note(bytes int64) {
	m.count.Add(1)
	m.bytes.Store(bytes)
	m.at.Store(time.Now().UnixMilli())
}

// collector shows the figures of a store and of the decider on it.
type collector struct {
	store   *Store
	decider *Decider
}

// NewCollector returns the figures of a store and of this server's decider.
func NewCollector(s *Store, d *Decider) prometheus.Collector { return collector{s, d} }

var (
	sessionsDesc = prometheus.NewDesc("skerry_sessions", "Sessions that there are.", nil, nil)
	endedDesc    = prometheus.NewDesc("skerry_sessions_ended_total", "Sessions that this server ended, by reason.", []string{"reason"}, nil)
	heldDesc     = prometheus.NewDesc("skerry_locks_held", "Keys that sessions hold.", nil, nil)
	delaysDesc   = prometheus.NewDesc("skerry_lock_delays", "Keys that nobody may lock now, after their holder's session ended.", nil, nil)
	locksDesc    = prometheus.NewDesc("skerry_locks_total", "Attempts to take a lock at this server, by result: taken (or held already), refused.", []string{"result"}, nil)
	deciderDesc  = prometheus.NewDesc("skerry_decider", "1 where this server ends sessions and lock-delays.", nil, nil)
	movesDesc    = prometheus.NewDesc("skerry_snapshots_total", "Snapshots that this server saved or restored.", []string{"action"}, nil)
	bytesDesc    = prometheus.NewDesc("skerry_snapshot_bytes", "Size of the last snapshot that this server saved or restored.", []string{"action"}, nil)
	atDesc       = prometheus.NewDesc("skerry_snapshot_timestamp_seconds", "When that was, in Unix time.", []string{"action"}, nil)
)

var reasons = map[ending]string{byTTL: "ttl", byNode: "node", byCheck: "check", byDestroyer: "destroyed"}

// Describe implements [prometheus.Collector].
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sessionsDesc, endedDesc, heldDesc, delaysDesc, locksDesc, deciderDesc, movesDesc, bytesDesc, atDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	now, n := c.store.KV.Snapshot(), &c.store.counts
	gauge(sessionsDesc, count(now.All(skerry.Below(sessionPrefix), "")))
	gauge(heldDesc, count(now.All(skerry.Below(heldPrefix), "")))
	gauge(delaysDesc, count(now.All(skerry.Below(delayPrefix), "")))
	for why, reason := range reasons {
		counter(endedDesc, float64(n.ended[why].Load()), reason)
	}
	counter(locksDesc, float64(n.taken.Load()), "taken")
	counter(locksDesc, float64(n.refused.Load()), "refused")
	decides := 0.0
	if c.decider.Leading() {
		decides = 1
	}
	gauge(deciderDesc, decides)
	for action, m := range map[string]*moves{"saved": &n.saved, "restored": &n.restored} {
		counter(movesDesc, float64(m.count.Load()), action)
		if m.count.Load() > 0 {
			gauge(bytesDesc, float64(m.bytes.Load()), action)
			gauge(atDesc, float64(m.at.Load())/1000, action)
		}
	}
}

func count(all iter.Seq[*skerry.Record]) (n float64) {
	for range all {
		n++
	}
	return n
}
