package roundtrip

import "github.com/prometheus/client_golang/prometheus"

var tripDesc = prometheus.NewDesc("skerry_roundtrip_seconds", "The round trip from this process to a server of its datacenter, the median of the last five.", []string{"server"}, nil)

// metrics collects what a meter measured.
type metrics struct{ m *Meter }

// Describe implements [prometheus.Collector].
func (c metrics) Describe(ch chan<- *prometheus.Desc) { ch <- tripDesc }

// Collect implements [prometheus.Collector].
func (c metrics) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for server, trips := range c.m.trips {
		trip, _ := median(trips)
		ch <- prometheus.MustNewConstMetric(tripDesc, prometheus.GaugeValue, trip.Seconds(), server)
	}
}
