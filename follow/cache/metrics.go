package cache

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ views prometheus.Counter }

func newMetrics(c *Cache) *metrics {
	m := &metrics{prometheus.NewCounter(prometheus.CounterOpts{
		Name: "skerry_follow_views_received_total", Help: "Views and changes of views that came from servers.",
	})}
	if reg := c.cfg.Registerer; reg != nil {
		reg.MustRegister(m.views,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "skerry_follow_services", Help: "Services that this agent follows.",
			}, func() float64 { return float64(c.Status().Services) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "skerry_follow_stale_seconds", Help: "The time since the followed services were last known to be current.",
			}, func() float64 { return c.Status().Stale.Seconds() }))
	}
	return m
}
