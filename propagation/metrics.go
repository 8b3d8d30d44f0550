package propagation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	servers  *prometheus.HistogramVec
	agents   prometheus.Observer
	services *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, m *Meter) *metrics {
	agents := Histogram("skerry_propagation_agent_seconds", "Time until an agent that follows had a change that was made at this server.")
	out := &metrics{
		servers:  Histogram("skerry_propagation_server_seconds", "Time until another server had a change that was made at this one.", "server"),
		agents:   agents.WithLabelValues(),
		services: Histogram("skerry_propagation_service_seconds", "The same for the changes of a service; those of services without figures of their own have an empty name.", "service", "stage"),
	}
	if reg != nil {
		reg.MustRegister(out.servers, agents, out.services, waiting{m})
	}
	return out
}

// service returns figures of a service; all others have the name "".
func (m *metrics) service(name string) *service {
	return &service{
		servers: NewFigure(m.services.WithLabelValues(name, "servers")),
		agents:  NewFigure(m.services.WithLabelValues(name, "agents")),
	}
}

// waiting collects which servers and agents are late.
type waiting struct{ m *Meter }

var (
	waitingDesc = prometheus.NewDesc("skerry_propagation_waiting_seconds", "For how long another server has not acknowledged a change that was made at this one; 0: it has all.", []string{"server"}, nil)
	lateDesc    = prometheus.NewDesc("skerry_propagation_late_agents", "Agents that did not acknowledge a change within a second.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (w waiting) Describe(to chan<- *prometheus.Desc) { to <- waitingDesc; to <- lateDesc }

// Collect implements [prometheus.Collector].
func (w waiting) Collect(to chan<- prometheus.Metric) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	now := w.m.now(time.Now())
	to <- prometheus.MustNewConstMetric(lateDesc, prometheus.GaugeValue, float64(len(w.m.late)))
	for name, s := range w.m.servers {
		to <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, s.waits(now).Seconds(), name)
	}
}
