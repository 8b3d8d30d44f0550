package consul

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests by endpoint. A process makes them once, for the front-ends
// before and after each reload. The children are looked up once.
type Metrics struct {
	blocking prometheus.Gauge
	byRoute  map[*route]prometheus.Observer
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, routes []route) *Metrics {
	m := &Metrics{
		blocking: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "skerry_http_blocking_queries", Help: "Blocking queries that wait now.",
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "skerry_http_request_duration_seconds", Help: "Time to answer, by endpoint; blocking queries with their wait.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 10, 100},
		}, []string{"endpoint"}),
		byRoute: map[*route]prometheus.Observer{},
	}
	for i := range routes {
		m.byRoute[&routes[i]] = m.seconds.WithLabelValues(strings.TrimSuffix(routes[i].path, "/"))
	}
	reg.MustRegister(m.blocking, m.seconds)
	return m
}

func (m *Metrics) observe(rt *route, took time.Duration) { m.byRoute[rt].Observe(took.Seconds()) }

// Blocking counts the blocking queries that wait.
func (m *Metrics) Blocking() prometheus.Gauge { return m.blocking }
