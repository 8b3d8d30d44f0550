// Package propagation measures how fast changes of the catalog reach the other servers and the agents. The server where a
// change is made times it until the others acknowledge it, so that one clock measures. DESIGN.md has the reasons.
package propagation

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/steady"
)

const (
	// sampleEvery is the least time between two measured changes of services.
	sampleEvery = 500 * time.Millisecond
	// giveUp is when a change that was not acknowledged counts as one that took so long.
	giveUp = time.Minute
	// maxServices bounds the services with figures of their own. One without a change in the window gives way.
	maxServices = 16
	// expected is the time between two calls of a meter; it is idle for longer only if the process was stopped.
	expected = 100 * time.Millisecond
	// waitsLong is from when on an open change counts in the quantiles.
	waitsLong = time.Second
)

// Meter times changes that are made at this server. Its methods may be called at once, and Tick has to be called every 100 ms.
type Meter struct {
	self    string
	clock   steady.Clock
	metrics *metrics

	mu       sync.Mutex
	last     uint64 // number of a change
	sampled  time.Time
	open     map[uint64]*change
	servers  map[string]*server
	agents   *Figure
	late     map[string]time.Time // agents that did not acknowledge, by node: when that was noted
	services map[string]*service  // by folded name
	other    *service
}

// change is one that was made here lately.
type change struct {
	at      time.Time
	service string                   // empty: it is the canary's
	waits   map[string]bool          // servers that did not acknowledge it
	took    map[string]time.Duration // those that did
}

// server is another server.
type server struct {
	figure  *Figure
	waiting time.Time // of the oldest change that it did not acknowledge, since its last acknowledgement; zero: none
	used    time.Time
}

// service has the figures of a service.
type service struct {
	servers, agents *Figure
	used            time.Time
}

// New returns a meter of the changes at a server.
func New(self string, reg prometheus.Registerer) *Meter {
	m := &Meter{self: self, open: map[uint64]*change{}, servers: map[string]*server{}, late: map[string]time.Time{}, services: map[string]*service{}}
	m.metrics = newMetrics(reg, m)
	m.agents = NewFigure(m.metrics.agents)
	m.other = m.metrics.service("")
	return m
}

// now is the time without stalls of this process. It must be called with mu held, as the other lower-case methods.
func (m *Meter) now(now time.Time) time.Time {
	m.clock.Observe(now, expected)
	return m.clock.Effective(now)
}

// Samples reports whether the next change of a service is to be measured.
func (m *Meter) Samples(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now(now).Sub(m.sampled) >= sampleEvery
}

// Begin notes a change that is in this server's catalog since now. of is the service that it changes; empty: it is the
// canary's. It returns a number for the acknowledgements of these servers.
func (m *Meter) Begin(now time.Time, of string, servers []string) (number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = m.now(now)
	if of != "" {
		m.sampled = now
	}
	c := &change{at: now, service: of, waits: map[string]bool{}, took: map[string]time.Duration{m.self: 0}}
	for _, name := range servers {
		c.waits[name] = true
		s := m.servers[name]
		if s == nil {
			s = &server{figure: NewFigure(m.metrics.servers.WithLabelValues(name))}
			m.servers[name] = s
		}
		if s.used = now; s.waiting.IsZero() {
			s.waiting = now
		}
	}
	m.last++
	m.open[m.last] = c
	return m.last
}

// Arrived takes a server's word that a change is in its catalog.
func (m *Meter) Arrived(now time.Time, number uint64, from string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = m.now(now)
	c := m.open[number]
	if c == nil || !c.waits[from] {
		return
	}
	c.took[from] = now.Sub(c.at)
	for n, earlier := range m.open {
		if n <= number && earlier.waits[from] {
			m.ends(now, earlier, from, now.Sub(earlier.at)) // questions that were lost in a cut end with a later one
		}
	}
	if s := m.servers[from]; s != nil {
		s.waiting = m.oldest(from)
	}
}

// ends notes how long a change took to a server, or was waited for.
func (m *Meter) ends(now time.Time, c *change, to string, took time.Duration) {
	delete(c.waits, to)
	if s := m.servers[to]; s != nil {
		s.figure.Observe(now, took)
	}
	if c.service != "" {
		m.service(now, c.service).servers.Observe(now, took)
	}
}

// oldest returns when the oldest change was made that a server did not acknowledge.
func (m *Meter) oldest(name string) (at time.Time) {
	for _, c := range m.open {
		if c.waits[name] && (at.IsZero() || c.at.Before(at)) {
			at = c.at
		}
	}
	return at
}

// AtAgents takes a server's word about agents that follow there: how long those took that acknowledged a change, from when
// that server had it, by node, and those that are late.
func (m *Meter) AtAgents(now time.Time, number uint64, from string, agents map[string]time.Duration, late []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = m.now(now)
	c := m.open[number]
	if c == nil {
		return
	}
	before, arrived := c.took[from]
	if !arrived {
		return
	}
	for node, after := range agents {
		delete(m.late, node)
		took := before + after
		m.agents.Observe(now, took)
		if c.service != "" {
			m.service(now, c.service).agents.Observe(now, took)
		}
	}
	for _, node := range late {
		m.late[node] = now
		m.agents.Observe(now, now.Sub(c.at))
	}
}

// service returns the figures of a service, or those of all others.
func (m *Meter) service(now time.Time, name string) *service {
	name = skerry.Fold(name)
	s := m.services[name]
	if s == nil && len(m.services) >= maxServices {
		m.release(now)
	}
	if s == nil && len(m.services) < maxServices {
		s = m.metrics.service(name)
		m.services[name] = s
	}
	if s == nil {
		s = m.other
	}
	s.used = now
	return s
}

// release drops services without a change in the window.
func (m *Meter) release(now time.Time) {
	maps.DeleteFunc(m.services, func(name string, s *service) bool {
		old := now.Sub(s.used) >= Window
		if old {
			m.metrics.services.DeletePartialMatch(prometheus.Labels{"service": name})
		}
		return old
	})
}

// Tick lets time pass.
func (m *Meter) Tick(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = m.now(now)
	for number, c := range m.open {
		if now.Sub(c.at) < giveUp {
			continue
		}
		for name := range c.waits {
			m.ends(now, c, name, giveUp)
		}
		delete(m.open, number)
	}
	maps.DeleteFunc(m.late, func(_ string, at time.Time) bool { return now.Sub(at) >= giveUp })
	maps.DeleteFunc(m.servers, func(name string, s *server) bool {
		old := now.Sub(s.used) >= Window
		if old {
			m.metrics.servers.DeleteLabelValues(name)
		}
		return old
	})
}

// Report is what a meter knows of the window before.
type Report struct {
	Servers  []ServerReport
	Agents   AgentsReport
	Services []ServiceReport // that changed lately, at most 16
	Other    ServiceReport   // all others
}

// ServerReport is how fast changes that were made here reach another server.
type ServerReport struct {
	Server string
	Quantiles
	Waiting float64 // for how long it has not acknowledged a change, in milliseconds; 0: it has all
}

// AgentsReport is how fast changes that were made here reach agents.
type AgentsReport struct {
	Quantiles
	Late []string // nodes whose agents did not acknowledge a change within a second, in the last minute
}

// ServiceReport is about the changes of a service.
type ServiceReport struct {
	Service         string `json:",omitempty"`
	Servers, Agents Quantiles
}

// Report returns the figures at now.
func (m *Meter) Report(now time.Time) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = m.now(now)
	r := Report{Servers: []ServerReport{}, Services: []ServiceReport{}, Other: m.other.report(now, "")}
	for _, name := range slices.Sorted(maps.Keys(m.servers)) {
		s := m.servers[name]
		var open []time.Duration
		for _, c := range m.open {
			if age := now.Sub(c.at); c.waits[name] && age >= waitsLong {
				open = append(open, age)
			}
		}
		r.Servers = append(r.Servers, ServerReport{name, s.figure.Quantiles(now, open...), float64(s.waits(now).Milliseconds())})
	}
	r.Agents = AgentsReport{m.agents.Quantiles(now), append([]string{}, slices.Sorted(maps.Keys(m.late))...)}
	for _, name := range slices.Sorted(maps.Keys(m.services)) {
		if s := m.services[name]; now.Sub(s.used) < Window {
			r.Services = append(r.Services, s.report(now, name))
		}
	}
	return r
}

func (s *server) waits(now time.Time) time.Duration {
	if s.waiting.IsZero() {
		return 0
	}
	return now.Sub(s.waiting)
}

func (s *service) report(now time.Time, name string) ServiceReport {
	return ServiceReport{name, s.servers.Quantiles(now), s.agents.Quantiles(now)}
}
