package access

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

var (
	tokensDesc  = prometheus.NewDesc("skerry_acl_tokens", "Tokens that there are, the anonymous one among them.", nil, nil)
	denialsDesc = prometheus.NewDesc("skerry_acl_denials_total", "Decisions that denied: requests refused, and things left out of lists.", nil, nil)
	unknownDesc = prometheus.NewDesc("skerry_acl_unknown_tokens_total", "Requests with a token that is not known or has expired.", nil, nil)
)

// Counts returns the counters of the decisions that denied, and of the requests with an unknown token.
func (s *Store) Counts() (denials, unknown *atomic.Uint64) { return &s.denials, &s.unknown }

// Describe implements [prometheus.Collector].
func (s *Store) Describe(to chan<- *prometheus.Desc) {
	to <- tokensDesc
	DescribeDecisions(to)
}

// DescribeDecisions describes the metrics of [CollectDecisions].
func DescribeDecisions(to chan<- *prometheus.Desc) {
	to <- denialsDesc
	to <- unknownDesc
}

// CollectDecisions exports the counts of a gate: decisions that denied, and tokens that were not known.
func CollectDecisions(to chan<- prometheus.Metric, denials, unknown *atomic.Uint64) {
	to <- prometheus.MustNewConstMetric(denialsDesc, prometheus.CounterValue, float64(denials.Load()))
	to <- prometheus.MustNewConstMetric(unknownDesc, prometheus.CounterValue, float64(unknown.Load()))
}

// Collect implements [prometheus.Collector].
func (s *Store) Collect(to chan<- prometheus.Metric) {
	tokens := 0
	for range s.kv.Snapshot().All(skerry.Below(tokenPrefix), "") {
		tokens++
	}
	to <- prometheus.MustNewConstMetric(tokensDesc, prometheus.GaugeValue, float64(tokens))
	CollectDecisions(to, &s.denials, &s.unknown)
}
