package consul

import (
	"encoding/json"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

func (q *request) agentMetrics() error {
	accept := q.r.Header.Get("Accept")
	if q.p.get("format") == "prometheus" || strings.Contains(accept, "openmetrics") || strings.Contains(accept, "version=0.4.0") {
		if !q.f.cfg.MetricsOn {
			q.w.Header().Set("X-Consul-Reason", "Prometheus is not enabled since its retention time is not positive")
			q.empty()
			return nil
		}
		q.w.Header().Del("Vary") // the handler sets it itself
		promhttp.HandlerFor(q.f.b.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(q.w, q.r)
		return nil
	}
	body, err := q.metricsSummary()
	if err != nil {
		return err
	}
	q.send(200, body, nil)
	return nil
}

type jsonGauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

type jsonCounter struct {
	Name   string
	Count  uint64
	Rate   float64
	Sum    float64
	Min    float64
	Max    float64
	Mean   float64
	Stddev float64
	Labels map[string]string
}

// metricsSummary renders the metrics in the form of Consul's own library.
func (q *request) metricsSummary() ([]byte, error) {
	families, err := q.f.b.Gatherer.Gather()
	if err != nil {
		return nil, err
	}
	out := struct {
		Timestamp string
		Gauges    []jsonGauge
		Points    []struct{}
		Counters  []jsonCounter
		Samples   []jsonCounter
	}{time.Now().UTC().Round(time.Second).String(), nil, []struct{}{}, []jsonCounter{}, []jsonCounter{}}
	out.Gauges = q.runtimeGauges()
	for _, f := range families {
		name := strings.ReplaceAll(f.GetName(), "_", ".")
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_GAUGE:
				out.Gauges = append(out.Gauges, jsonGauge{name, m.GetGauge().GetValue(), labels})
			case dto.MetricType_COUNTER:
				v := m.GetCounter().GetValue()
				out.Counters = append(out.Counters, jsonCounter{Name: name, Count: uint64(v), Sum: v, Labels: labels})
			case dto.MetricType_HISTOGRAM:
				n, sum := m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
				s := jsonCounter{Name: name, Count: n, Sum: sum, Labels: labels}
				if n > 0 {
					s.Mean = sum / float64(n)
				}
				out.Samples = append(out.Samples, s)
			}
		}
	}
	return json.Marshal(out)
}

// runtimeGauges returns the gauges of the process, under the names in dashboards for
// Consul.
func (q *request) runtimeGauges() []jsonGauge {
	prefix := q.f.cfg.MetricPrefix + ".runtime."
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	gauge := func(name string, v float64) jsonGauge { return jsonGauge{prefix + name, v, map[string]string{}} }
	return []jsonGauge{
		gauge("alloc_bytes", float64(m.Alloc)), gauge("sys_bytes", float64(m.Sys)), gauge("heap_objects", float64(m.HeapObjects)),
		gauge("malloc_count", float64(m.Mallocs)), gauge("free_count", float64(m.Frees)),
		gauge("total_gc_pause_ns", float64(m.PauseTotalNs)), gauge("total_gc_runs", float64(m.NumGC)),
		gauge("num_goroutines", float64(runtime.NumGoroutine())),
	}
}
