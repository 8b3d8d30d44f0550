package wan

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	reachedDesc  = prometheus.NewDesc("skerry_wan_reached", "1 while a server of another datacenter answers.", []string{"datacenter"}, nil)
	distanceDesc = prometheus.NewDesc("skerry_wan_distance_seconds", "The median round trip to the servers of another datacenter, as it was measured last.", []string{"datacenter"}, nil)
	silentDesc   = prometheus.NewDesc("skerry_wan_silent_seconds", "The time since a server of another datacenter answered last.", []string{"datacenter"}, nil)
)

// metrics collects what a directory knows.
type metrics struct{ d *Directory }

// Describe implements [prometheus.Collector].
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- reachedDesc
	ch <- distanceDesc
	ch <- silentDesc
}

// Collect implements [prometheus.Collector].
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	for _, dc := range m.d.Datacenters() {
		reached := 0.0
		if dc.Reached {
			reached = 1
		}
		ch <- prometheus.MustNewConstMetric(reachedDesc, prometheus.GaugeValue, reached, dc.Name)
		if dc.Distance > 0 {
			ch <- prometheus.MustNewConstMetric(distanceDesc, prometheus.GaugeValue, dc.Distance.Seconds(), dc.Name)
		}
		if !dc.Heard.IsZero() {
			ch <- prometheus.MustNewConstMetric(silentDesc, prometheus.GaugeValue, time.Since(dc.Heard).Seconds(), dc.Name)
		}
	}
}
