package dns

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Types and rcodes that are counted by name; all others are "other".
var (
	countedTypes  = [...]uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeTXT, dns.TypeANY, dns.TypeSOA, dns.TypeNS, dns.TypeCNAME}
	countedRcodes = [...]int{dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeRefused, dns.RcodeServerFailure, dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers, dns.RcodeBadCookie, rcodeDropped}
)

// rcodeDropped stands for a question that was not answered because of its client's rate.
const rcodeDropped = -1

// metrics holds the counters. Those by label are in arrays, since the look-up of a label
// costs more than counting.
type metrics struct {
	queries          *prometheus.CounterVec
	byLabel          [len(countedTypes) + 1][len(countedRcodes) + 1]atomic.Pointer[prometheus.Counter]
	duration         prometheus.Histogram
	truncated        prometheus.Counter
	malformed        prometheus.Counter
	rejected         prometheus.Counter
	limited          *prometheus.CounterVec
	cookies          *prometheus.CounterVec
	closed           *prometheus.CounterVec
	connections      prometheus.Gauge
	loops            prometheus.Gauge
	recursorFailures *prometheus.CounterVec
	recursorOverload prometheus.Counter

	limitedDropped, limitedTruncated, limitedCookie        prometheus.Counter
	cookieValid, cookieNew, cookieInvalid, cookieMalformed prometheus.Counter
	closedSlow, closedLong, closedUnread, closedMany       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_dns_queries_total", Help: "Answered questions by type and response code.",
		}, []string{"type", "rcode"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "skerry_dns_duration_seconds", Help: "From a question's arrival to its answer being sent.",
			Buckets: []float64{10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3, 500e-3, 2.5},
		}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_dns_truncated_total", Help: "Answers with the TC flag.",
		}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_dns_malformed_total", Help: "Packets that were no DNS message.",
		}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_dns_rejected_connections_total", Help: "TCP connections over the limit of one client.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_dns_limited_total", Help: "Answers over UDP that were dropped, truncated or replaced by BADCOOKIE because of the rate of the client's network.",
		}, []string{"action"}),
		cookies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_dns_cookies_total", Help: "Questions with a DNS cookie: valid, new (the client has none of ours yet), invalid or malformed.",
		}, []string{"state"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_dns_closed_connections_total", Help: "TCP connections that were closed: the question came too slowly or was too long, the answer was not read, or there were too many questions.",
		}, []string{"reason"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "skerry_dns_connections", Help: "TCP connections of clients.",
		}),
		loops: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "skerry_dns_recursors_left_out", Help: "Recursors that are not asked because they lead back to this server.",
		}),
		recursorFailures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_dns_recursor_failures_total", Help: "Questions that a recursor did not answer, or answered with a failure.",
		}, []string{"recursor"}),
		recursorOverload: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "skerry_dns_recursor_overload_total", Help: "Questions refused because too many wait for recursors.",
		}),
	}
	m.limitedDropped, m.limitedTruncated, m.limitedCookie = m.limited.WithLabelValues("dropped"), m.limited.WithLabelValues("truncated"), m.limited.WithLabelValues("badcookie")
	m.cookieValid, m.cookieNew = m.cookies.WithLabelValues("valid"), m.cookies.WithLabelValues("new")
	m.cookieInvalid, m.cookieMalformed = m.cookies.WithLabelValues("invalid"), m.cookies.WithLabelValues("malformed")
	m.closedSlow, m.closedLong = m.closed.WithLabelValues("slow"), m.closed.WithLabelValues("long")
	m.closedUnread, m.closedMany = m.closed.WithLabelValues("unread"), m.closed.WithLabelValues("many")
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.queries, m.duration, m.truncated, m.malformed, m.rejected, m.recursorFailures, m.recursorOverload, m.limited, m.cookies, m.closed, m.connections, m.loops} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) observe(qtype uint16, rcode int, took time.Duration) {
	t, r := 0, 0
	for t < len(countedTypes) && countedTypes[t] != qtype {
		t++
	}
	for r < len(countedRcodes) && countedRcodes[r] != rcode {
		r++
	}
	cell := &m.byLabel[t][r]
	c := cell.Load()
	if c == nil {
		c = m.counter(t, r)
		cell.Store(c)
	}
	(*c).Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) counter(t, r int) *prometheus.Counter {
	typ, rcode := "other", "other"
	if t < len(countedTypes) {
		typ = dns.TypeToString[countedTypes[t]]
	}
	if r < len(countedRcodes) {
		rcode = dns.RcodeToString[countedRcodes[r]]
	}
	if r < len(countedRcodes) && countedRcodes[r] == rcodeDropped {
		rcode = "dropped"
	}
	c := m.queries.WithLabelValues(typ, rcode)
	return &c
}
