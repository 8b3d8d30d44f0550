package bus

import "github.com/prometheus/client_golang/prometheus"

// direction and reason are labels.
type (
	direction int
	reason    int
)

const (
	sent direction = iota
	received
)

const (
	sendQueue    reason = iota // more was sent than NATS took
	noConnection               // there is no connection to NATS, or it broke
	receiveQueue               // more came than receive took
	stranger                   // the subject is none of this bus
)

// metrics are counted where things happen; gauges are read when they are collected.
type metrics struct {
	frames, bytes [2]prometheus.Counter
	drops         [4]prometheus.Counter
	all           []prometheus.Collector
}

func newMetrics(b *Bus) *metrics {
	vec := func(name, label, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	frames := vec("skerry_bus_frames_total", "direction", "Frames between servers: sent (handed to NATS, once also if all get it), received.")
	bytes := vec("skerry_bus_bytes_total", "direction", "Bytes of the frames between servers.")
	drops := vec("skerry_bus_dropped_total", "reason",
		"Frames that were dropped: send_queue (more than NATS took), no_connection, receive_queue (more than was handled), stranger (not of this bus).")
	m := &metrics{}
	for d, label := range []string{"sent", "received"} {
		m.frames[d], m.bytes[d] = frames.WithLabelValues(label), bytes.WithLabelValues(label)
	}
	for r, label := range []string{"send_queue", "no_connection", "receive_queue", "stranger"} {
		m.drops[r] = drops.WithLabelValues(label)
	}
	m.all = []prometheus.Collector{frames, bytes, drops,
		gauge("skerry_bus_routes", "Servers that this server's NATS has a route to.", func() float64 { return float64(b.routes()) }),
		gauge("skerry_bus_connected", "Whether the bus is connected to NATS.", func() float64 {
			if b.conn.Load() == nil {
				return 0
			}
			return 1
		}),
		gauge("skerry_bus_peers", "Servers that were heard on the bus within the last 5 seconds.", func() float64 { return float64(len(b.Peers())) }),
	}
	return m
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(to)
	}
}

func (m *metrics) count(d direction, bytes int) {
	m.frames[d].Inc()
	m.bytes[d].Add(float64(bytes))
}

func (m *metrics) dropped(r reason, n int) { m.drops[r].Add(float64(n)) }
