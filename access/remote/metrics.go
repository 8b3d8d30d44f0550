package remote

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/access"
)

var (
	knownDesc = prometheus.NewDesc("skerry_acl_known_tokens", "Tokens that this process keeps, refused ones among them.", nil, nil)
	askedDesc = prometheus.NewDesc("skerry_acl_questions_total", "Questions to servers for the holders of tokens, by whether one answered.", []string{"result"}, nil)
)

// Describe implements [prometheus.Collector].
func (g *Gate) Describe(to chan<- *prometheus.Desc) {
	g.describe(to)
	access.DescribeDecisions(to)
}

// Collect implements [prometheus.Collector].
func (g *Gate) Collect(to chan<- prometheus.Metric) {
	g.collect(to)
	access.CollectDecisions(to, g.denials, g.unknown)
}

func (g *Gate) describe(to chan<- *prometheus.Desc) {
	to <- knownDesc
	to <- askedDesc
}

func (g *Gate) collect(to chan<- prometheus.Metric) {
	g.mu.Lock()
	known := len(g.known)
	g.mu.Unlock()
	asked, failed := g.asked.Load(), g.failed.Load()
	to <- prometheus.MustNewConstMetric(knownDesc, prometheus.GaugeValue, float64(known))
	to <- prometheus.MustNewConstMetric(askedDesc, prometheus.CounterValue, float64(asked-min(failed, asked)), "answered")
	to <- prometheus.MustNewConstMetric(askedDesc, prometheus.CounterValue, float64(failed), "failed")
}
