package kv

import (
	"iter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// note counts an attempt to take a lock. An attempt for a session that does not live is
// refused too. One that the store could not make is not counted.
func (s *Store) note(done bool, err error) {
	switch {
	case done:
		s.taken.Add(1)
	case err == nil || skerry.KindOf(err) == skerry.Invalid:
		s.refused.Add(1)
	}
}

// NoteTxn counts the locks that a transaction took. When refused is not empty the
// transaction failed, and NoteTxn counts the attempts that made it fail.
func (s *Store) NoteTxn(ops []skerry.TxnOp, refused []skerry.TxnError) {
	for _, r := range refused {
		if acquires(ops[r.Op]) {
			s.refused.Add(1)
		}
	}
	if len(refused) > 0 {
		return
	}
	for _, op := range ops {
		if acquires(op) {
			s.taken.Add(1)
		}
	}
}

func acquires(op skerry.TxnOp) bool { return op.Key != nil && op.Key.Action == skerry.KeyAcquire }

var (
	heldDesc   = prometheus.NewDesc("skerry_locks_held", "Keys that sessions hold.", nil, nil)
	delaysDesc = prometheus.NewDesc("skerry_lock_delays", "Keys that cannot be locked now, after their holder's session ended.", nil, nil)
	locksDesc  = prometheus.NewDesc("skerry_locks_total", "Attempts to take a lock at this server, by result: taken (or held already), refused.", []string{"result"}, nil)
)

// Describe implements [prometheus.Collector].
func (s *Store) Describe(to chan<- *prometheus.Desc) {
	to <- heldDesc
	to <- delaysDesc
	to <- locksDesc
}

// Collect implements [prometheus.Collector].
func (s *Store) Collect(to chan<- prometheus.Metric) {
	now := s.kv.Snapshot()
	to <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, count(now.All(skerry.Below(record.Held), "")))
	to <- prometheus.MustNewConstMetric(delaysDesc, prometheus.GaugeValue, count(now.All(skerry.Below(record.Delays), "")))
	to <- prometheus.MustNewConstMetric(locksDesc, prometheus.CounterValue, float64(s.taken.Load()), "taken")
	to <- prometheus.MustNewConstMetric(locksDesc, prometheus.CounterValue, float64(s.refused.Load()), "refused")
}

func count(all iter.Seq[*skerry.Record]) (n float64) {
	for range all {
		n++
	}
	return n
}
