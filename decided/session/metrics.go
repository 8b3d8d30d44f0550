package session

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

var (
	sessionsDesc = prometheus.NewDesc("skerry_sessions", "Sessions that there are.", nil, nil)
	endedDesc    = prometheus.NewDesc("skerry_sessions_ended_total", "Sessions that this server ended, by reason.", []string{"reason"}, nil)
	deciderDesc  = prometheus.NewDesc("skerry_decider", "1 where this server ends sessions and lock-delays.", nil, nil)
)

var reasons = map[ending]string{byTTL: "ttl", byNode: "node", byCheck: "check", byDestroyer: "destroyed"}

// Describe implements [prometheus.Collector].
func (s *Store) Describe(to chan<- *prometheus.Desc) {
	to <- sessionsDesc
	to <- endedDesc
}

// Collect implements [prometheus.Collector].
func (s *Store) Collect(to chan<- prometheus.Metric) {
	sessions := 0
	for range s.kv.Snapshot().All(skerry.Below(record.Sessions), "") {
		sessions++
	}
	to <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(sessions))
	for why, reason := range reasons {
		to <- prometheus.MustNewConstMetric(endedDesc, prometheus.CounterValue, float64(s.ended[why].Load()), reason)
	}
}

// Describe implements [prometheus.Collector].
func (d *Decider) Describe(to chan<- *prometheus.Desc) { to <- deciderDesc }

// Collect implements [prometheus.Collector].
func (d *Decider) Collect(to chan<- prometheus.Metric) {
	decides := 0.0
	if d.Leading() {
		decides = 1
	}
	to <- prometheus.MustNewConstMetric(deciderDesc, prometheus.GaugeValue, decides)
}
