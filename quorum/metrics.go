package quorum

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/quorum/replica"
)

// metrics are counted where things happen; gauges are read when they are collected.
type metrics struct {
	made, conflicts, failed prometheus.Counter
	seconds                 prometheus.Histogram // of commits that were answered
	batch                   prometheus.Histogram // commits in one transaction of etcd
	syncs, unanswered       prometheus.Counter
	round                   prometheus.Histogram // of rounds that were answered
	damaged, unmarked       prometheus.Counter   // records that were read
	healed                  *prometheus.CounterVec
	found, repeated         prometheus.Counter // transactions whose answer was lost
}

func newMetrics() *metrics {
	commits := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_quorum_commits_total", Help: "Commits, by result: made, conflict (it is tried again), failed.",
	}, []string{"result"})
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skerry_quorum_unanswered_total", Help: "Transactions without an answer when the leader changed, by result: made, or again (not made, and sent again).",
	}, []string{"result"})
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	times := []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		made: commits.WithLabelValues("made"), conflicts: commits.WithLabelValues("conflict"), failed: commits.WithLabelValues("failed"),
		found: lost.WithLabelValues("made"), repeated: lost.WithLabelValues("again"),
		seconds: histogram("skerry_quorum_commit_seconds", "How long commits took that were answered.", times),
		batch:   histogram("skerry_quorum_batch_commits", "Commits that went to etcd together, by transaction.", prometheus.ExponentialBuckets(1, 2, 9)),
		syncs:   count("skerry_quorum_syncs_total", "Reads that asked the majority whether they are up to date."),
		round:   histogram("skerry_quorum_round_seconds", "How long it took to ask the majority; reads that wait share a round.", times),
		damaged: count("skerry_quorum_damaged_total", "Records that were read and are not as they were written."),
		healed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skerry_quorum_healed_total", Help: "Damaged records that were taken from another server, by the first part of their keys.",
		}, []string{"family"}),
		unmarked:   count("skerry_quorum_unchecked_total", "Records that were read and have no checksum: an earlier version wrote them."),
		unanswered: count("skerry_quorum_rounds_failed_total", "Rounds that the majority did not answer in time."),
	}
	m.healed.WithLabelValues("kv") // it is shown from the start
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.made, m.conflicts, m.failed, m.seconds, m.batch, m.syncs, m.round, m.unanswered, m.damaged, m.unmarked, m.healed}
}

// counted is the engine with its commits counted.
type counted batcher

// Sync implements [replica.Engine].
func (c *counted) Sync(ctx context.Context) error { return c.store.Sync(ctx) }

// Commit implements [replica.Engine].
func (c *counted) Commit(ctx context.Context, commit *replica.Commit) (index uint64, conflict bool, err error) {
	m, started := c.store.metrics, time.Now()
	index, conflict, err = (*batcher)(c).Commit(ctx, commit)
	switch {
	case err != nil:
		m.failed.Inc()
		return index, conflict, err
	case conflict:
		m.conflicts.Inc()
	default:
		m.made.Inc()
	}
	m.seconds.Observe(time.Since(started).Seconds())
	return index, conflict, nil
}

// rounds counts the rounds that ask makes.
func (m *metrics) rounds(ask func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		started := time.Now()
		err := ask(ctx)
		if err != nil {
			m.unanswered.Inc()
			return err
		}
		m.round.Observe(time.Since(started).Seconds())
		return nil
	}
}

// state is how a store is, in one word.
type state string

const (
	stateNone    state = "none"    // this process has none
	stateOpening state = "opening" // it has not answered yet
	stateFailed  state = "failed"  // it could not be opened, and is tried again
	stateOpen    state = "open"
	stateFull    state = "full"    // writes are refused: the quota or the disk's reserve is reached
	stateStopped state = "stopped" // the member ended on an error that it cannot mend
)

var states = []state{stateNone, stateOpening, stateFailed, stateOpen, stateFull, stateStopped}

var (
	stateDesc   = prometheus.NewDesc("skerry_quorum_state", "State of the quorum store: 1 for the present one.", []string{"state"}, nil)
	indexDesc   = prometheus.NewDesc("skerry_quorum_index", "The index of the last change that this server holds.", nil, nil)
	sizeDesc    = prometheus.NewDesc("skerry_quorum_file_bytes", "Size of the member's data file.", nil, nil)
	usedDesc    = prometheus.NewDesc("skerry_quorum_file_used_bytes", "The part of the data file that is in use.", nil, nil)
	damagedDesc = prometheus.NewDesc("skerry_quorum_damaged", "Records that are damaged now: they cannot be read until they are written anew or deleted.", nil, nil)
	membersDesc = prometheus.NewDesc("skerry_quorum_members", "Members of the quorum that this server knows, by whether they have a vote.", []string{"vote"}, nil)
	leaderDesc  = prometheus.NewDesc("skerry_quorum_leader", "1 where this server's member leads the quorum, else 0.", nil, nil)
	contactDesc = prometheus.NewDesc("skerry_quorum_leader_silent_seconds", "For how long the leader was not heard, at most.", nil, nil)
	quotaDesc   = prometheus.NewDesc("skerry_quorum_quota_bytes", "The size of the data file at which writes are refused.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (e *Eventual) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stateDesc, indexDesc, sizeDesc, usedDesc, quotaDesc, damagedDesc, membersDesc, leaderDesc, contactDesc} {
		to <- d
	}
	figures := newMetrics()
	for _, c := range append(figures.all(), figures.found, figures.repeated) {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector]. Figures of a store that is not open are left
// out, and those of the members where there can be only one; an external cluster reports
// its own sizes.
func (e *Eventual) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := e.state()
	for _, s := range states {
		v := 0.0
		if s == now {
			v = 1
		}
		gauge(stateDesc, v, string(s))
	}
	s := e.store.Load()
	if s == nil {
		return
	}
	gauge(indexDesc, float64(s.Index()))
	gauge(damagedDesc, float64(s.damage.count()))
	if s.member != nil && s.member.dead.reason() == nil {
		size, used := s.member.sizes()
		gauge(sizeDesc, float64(size))
		gauge(usedDesc, float64(used))
		gauge(quotaDesc, float64(s.member.quota()))
	}
	if s.member != nil && s.member.peers && s.member.dead.reason() == nil {
		s.member.gauges(gauge)
		to <- s.metrics.found
		to <- s.metrics.repeated
	}
	for _, c := range s.metrics.all() {
		c.Collect(to)
	}
}

// gauges shows the figures of the members. It does not ask etcd's metrics: it may be called
// while they are collected.
func (m *member) gauges(gauge func(*prometheus.Desc, float64, ...string)) {
	server := m.etcd.Server
	voters, learners, leads := 0.0, 0.0, 0.0
	for _, one := range server.Cluster().Members() {
		if one.IsLearner {
			learners++
		} else {
			voters++
		}
	}
	gauge(membersDesc, voters, "yes")
	gauge(membersDesc, learners, "no")
	if server.Leader() == server.MemberID() {
		leads = 1
	}
	gauge(leaderDesc, leads)
	silent, _ := m.leads.contact() // since the start, if it was never heard
	gauge(contactDesc, silent.Seconds())
}

func (e *Eventual) state() state {
	s := e.store.Load()
	switch {
	case s == nil && e.open == nil:
		return stateNone
	case s == nil:
		if _, err := e.Ready(); err != nil {
			return stateFailed
		}
		return stateOpening
	case s.member == nil:
		return stateOpen
	case s.member.dead.reason() != nil:
		return stateStopped
	case s.member.usable() != nil || s.member.full():
		return stateFull
	}
	return stateOpen
}
