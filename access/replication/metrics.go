package replication

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	ageDesc    = prometheus.NewDesc("skerry_acl_replication_age_seconds", "The time since the copy of the primary datacenter's policies and tokens was last known to be current; +Inf: there is none.", nil, nil)
	copiesDesc = prometheus.NewDesc("skerry_acl_replication_copies_total", "Copies that this server took from the primary datacenter: whole ones, and changes.", []string{"kind"}, nil)
	failedDesc = prometheus.NewDesc("skerry_acl_replication_failures_total", "Tries of this server to copy from the primary datacenter that failed.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (r *Replicator) Describe(to chan<- *prometheus.Desc) {
	to <- ageDesc
	to <- copiesDesc
	to <- failedDesc
}

// Collect implements [prometheus.Collector].
func (r *Replicator) Collect(to chan<- prometheus.Metric) {
	age := math.Inf(1)
	if s := r.status(); !s.Success.IsZero() {
		age = time.Since(s.Success).Seconds()
	}
	to <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, age)
	to <- prometheus.MustNewConstMetric(copiesDesc, prometheus.CounterValue, float64(r.whole.Load()), "whole")
	to <- prometheus.MustNewConstMetric(copiesDesc, prometheus.CounterValue, float64(r.changes.Load()), "changes")
	to <- prometheus.MustNewConstMetric(failedDesc, prometheus.CounterValue, float64(r.failed.Load()))
}
