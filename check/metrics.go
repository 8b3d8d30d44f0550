package check

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// metrics are the Runner's figures; without a registerer they are not exported.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector
	runs       *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	waits      prometheus.Histogram
	faults     *prometheus.CounterVec
	expiries   prometheus.Counter
}

func newMetrics(r *Runner) *metrics {
	m := &metrics{
		registerer: r.cfg.Registerer,
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_check_runs_total", Help: "Probes that ended, by kind and result.",
		}, []string{"kind", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "skerry_check_run_seconds", Help: "How long probes took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"kind"}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "skerry_check_wait_seconds", Help: "How long targets that were due waited for a runner.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_check_own_faults_total", Help: "Runs without a result for a fault of this process or host, and runs that were late for want of a runner.",
		}, []string{"reason"}),
		expiries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_check_ttl_expiries_total", Help: "TTL checks that were not refreshed in time.",
		}),
	}
	for _, f := range faults {
		m.faults.WithLabelValues(string(f)) // there from the start, for alerts
	}
	if m.registerer == nil {
		return m
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return float64(value())
		})
	}
	for _, c := range []prometheus.Collector{
		m.runs, m.seconds, m.waits, m.faults, m.expiries,
		gauge("skerry_check_checks", "Checks that run.", func() int { return len(r.probes) + len(r.ttls) }),
		gauge("skerry_check_targets", "Distinct targets that are probed.", func() int { return len(r.targets) }),
		gauge("skerry_check_runners", "Probes that may be under way at once.", func() int { return r.queues.most }),
		gauge("skerry_check_running", "Probes that are under way.", func() int { return r.queues.running }),
		gauge("skerry_check_queued", "Targets that are due and wait for a runner.", func() int { return r.queues.waiting }),
		gauge("skerry_check_held_back", "Those of the queued whose service, target or slowness has its share of the runners.", func() int { return r.queues.backlog().held }),
		gauge("skerry_check_stale", "Targets whose last run was undone by a fault of ours: their state is kept.", func() int { return r.stale }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "skerry_check_stalled_seconds_total", Help: "Time in which this process did not run; it expires no check.",
		}, func() float64 { return r.clock.Stalled().Seconds() }),
	} {
		if err := m.registerer.Register(c); err != nil {
			r.cfg.Log.Warn("check metrics are not exported", "err", err)
			continue
		}
		m.registered = append(m.registered, c)
	}
	return m
}

func (m *metrics) ran(kind string, status skerry.Health, took time.Duration) {
	m.runs.WithLabelValues(kind, string(encode(status).health())).Inc()
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) faulted(f Fault) { m.faults.WithLabelValues(string(f)).Inc() }

func (m *metrics) expired() { m.expiries.Inc() }

func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
}
