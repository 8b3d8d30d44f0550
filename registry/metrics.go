package registry

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	skipped, refused, dropped, diverged prometheus.Counter
	lost, held                          prometheus.Counter // owners that this server judged
}

func newMetrics(reg prometheus.Registerer, r *Registry) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "skerry_cluster_" + name, Help: help})
	}
	m := &metrics{
		skipped:  counter("frames_skipped_total", "Frames of other servers that were not understood."),
		refused:  counter("changes_refused_total", "Changes of the cluster that the catalog refused; 0 unless there is a bug."),
		dropped:  counter("messages_dropped_total", "Messages to other servers that were dropped because too many waited."),
		diverged: counter("diverged_total", "Differences to another server that were found although no change was under way."),
	}
	judged := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_cluster_judged_total", Help: "Silent owners that this server judged, by the verdict.",
	}, []string{"verdict"})
	m.lost, m.held = judged.WithLabelValues("lost"), judged.WithLabelValues("held")
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "skerry_cluster_" + name, Help: help}, func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return value()
		}))
	}
	reg.MustRegister(m.skipped, m.refused, m.dropped, m.diverged, judged, &logs{r})
	gauge("servers", "Servers of this datacenter that have a vote or were heard of in the last minute, this one among them.", func() float64 { return float64(len(r.core.Known())) })
	gauge("servers_up", "Servers that this one is connected with, itself among them.", func() float64 {
		n := 0
		for _, id := range r.core.Known() {
			if r.core.Up(id) {
				n++
			}
		}
		return float64(n)
	})
	gauge("frozen_owners", "Owners of this server that it may not judge, since it hears no majority of the servers.", func() float64 { return float64(r.core.Frozen()) })
	gauge("minority", "1 while this server hears no majority of the servers.", func() float64 { return truth(r.core.Minority()) })
	return m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// logs collects the positions in the logs of the servers.
type logs struct{ r *Registry }

var (
	headDesc   = prometheus.NewDesc("skerry_cluster_log_records", "Records in this server's log since its start.", nil, nil)
	behindDesc = prometheus.NewDesc("skerry_cluster_log_behind_records", "Records of another server's log that are not here yet.", []string{"server"}, nil)
)

// Describe implements [prometheus.Collector].
func (l *logs) Describe(to chan<- *prometheus.Desc) { to <- headDesc; to <- behindDesc }

// Collect implements [prometheus.Collector].
func (l *logs) Collect(to chan<- prometheus.Metric) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	to <- prometheus.MustNewConstMetric(headDesc, prometheus.GaugeValue, float64(l.r.core.Head().Seq))
	for _, id := range l.r.core.Known() {
		if id != l.r.cfg.Self {
			to <- prometheus.MustNewConstMetric(behindDesc, prometheus.GaugeValue, float64(l.r.core.Behind(id)), string(id))
		}
	}
}
