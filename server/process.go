package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/tongue/consul"
)

// process is the server as a whole, as the front-end sees it.
type process Server

// Reload implements [consul.Process].
func (p *process) Reload() error { return (*Server)(p).Reload() }

// Leave implements [consul.Process].
func (p *process) Leave() { p.leave() }

// Follow implements [consul.Process].
func (p *process) Follow(ctx context.Context, level slog.Level, json bool, w io.Writer) {
	p.cfg.Stream.Follow(ctx, level, json, w)
}

// DebugConfig implements [consul.Process].
func (p *process) DebugConfig() any { return p.cfg.Debug }

// Stats implements [consul.Process].
func (p *process) Stats() map[string]map[string]string {
	counts := map[string]int{}
	for _, c := range p.agent.Checks() {
		switch c.Type {
		case "ttl":
			counts["check_ttls"]++
		case "script":
			counts["check_monitors"]++
		}
	}
	return map[string]map[string]string{
		"exposure": p.cfg.Exposures,
		"agent": {
			"check_monitors": strconv.Itoa(counts["check_monitors"]), "check_ttls": strconv.Itoa(counts["check_ttls"]),
			"checks": strconv.Itoa(len(p.agent.Checks())), "services": strconv.Itoa(len(p.agent.Instances())),
		},
		"build": {"version": consul.SpokenVersion, "revision": p.cfg.Consul.Revision, "skerry": p.cfg.Consul.Version},
		"consul": {
			"server": strconv.FormatBool(p.cfg.Consul.Server), "leader": "true", "leader_addr": p.cfg.Consul.ServerAddr,
			"bootstrap": "true", "known_datacenters": "1",
		},
		"runtime": {
			"arch": runtime.GOARCH, "os": runtime.GOOS, "version": runtime.Version(),
			"goroutines": strconv.Itoa(runtime.NumGoroutine()), "cpu_count": strconv.Itoa(runtime.NumCPU()),
		},
	}
}

// Reload reads the configuration again and applies what can change in a running
// process; nothing flaps that did not change.
func (s *Server) Reload() error {
	s.ready.Lock()
	defer s.ready.Unlock()
	next, err := s.reload()
	if err != nil {
		return fmt.Errorf("reload: the configuration is not valid, the old one stays in force: %w", err)
	}
	t, err := consul.New(next.Consul, s.backend, s.requests)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := s.agent.Configure(context.Background(), next.Services, next.NodeChecks); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	s.control.reload(next.ACL)
	s.tongue.set(t)
	s.site.Set(s.hosts(&next))
	s.shown.set(next.Shown)
	d := next.DNSs
	d.Registerer = nil
	s.dns.Reload(d)
	if next.Applied != nil {
		next.Applied()
	}
	s.log.Info("configuration reloaded", "services", len(next.Services))
	return nil
}

// handlerBox serves HTTP: the tongue of the moment, the metrics, and the
// profiles where they are allowed.
type handlerBox struct {
	tongue  atomic.Pointer[consul.Tongue]
	metrics http.Handler
	debug   bool
}

func (b *handlerBox) set(t *consul.Tongue) { b.tongue.Store(t) }

func (b *handlerBox) changes(r *http.Request) bool { return b.tongue.Load().Changes(r) }

// ServeHTTP implements [http.Handler].
func (b *handlerBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1/") {
		b.tongue.Load().ServeHTTP(w, r)
		return
	}
	profile := b.debug && strings.HasPrefix(path, "/debug/pprof/")
	switch t := b.tongue.Load(); {
	case path == "/metrics" && !t.Admits(w, r, skerry.ResourceAgent), profile && !t.Admits(w, r, skerry.ResourceOperator):
	case path == "/metrics":
		b.metrics.ServeHTTP(w, r)
	case b.debug && path == "/debug/pprof/cmdline":
		pprof.Cmdline(w, r)
	case b.debug && path == "/debug/pprof/profile":
		pprof.Profile(w, r)
	case b.debug && path == "/debug/pprof/symbol":
		pprof.Symbol(w, r)
	case b.debug && path == "/debug/pprof/trace":
		pprof.Trace(w, r)
	case profile:
		pprof.Index(w, r)
	default:
		b.tongue.Load().ServeHTTP(w, r)
	}
}

func (s *Server) registerMetrics() {
	s.tongue.metrics = promhttp.HandlerFor(&s.shown, promhttp.HandlerOpts{})
	s.tongue.debug = s.cfg.Consul.EnableDebug
	gauge := func(name, help string, f func() float64) {
		s.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	s.metrics.MustRegister(s.kv, decided.NewCollector(s.decided, s.decider))
	if s.control != nil {
		s.metrics.MustRegister(s.control.store)
	}
	s.metrics.MustRegister(s.intake.closed)
	gauge("skerry_connections", "Connections of clients: HTTP, HTTPS and DNS over TCP.", s.intake.count)
	gauge("skerry_connections_limit", "Connections that clients may have in all: what the open-file limit leaves them.", func() float64 { return float64(s.intake.shares.clients) })
	gauge("skerry_journal_bytes", "Size of the journal.", func() float64 { return float64(s.ledger.Size()) })
	gauge("skerry_journal_syncs_total", "Syncs of the journal since the start.", func() float64 { return float64(s.ledger.Syncs()) })
	gauge("skerry_catalog_index", "The last index issued.", func() float64 { return float64(s.table.Index()) })
	gauge("skerry_catalog_services", "Service names in the catalog.", func() float64 { return float64(len(s.table.Services())) })
	gauge("skerry_catalog_nodes", "Nodes in the catalog.", func() float64 { return float64(len(s.table.Nodes())) })
	gauge("skerry_catalog_guarded_owners", "Silent owners that the guard holds.", func() float64 { return float64(s.table.Held()) })
	if s.control != nil && s.control.dryRun != nil {
		gauge("skerry_acl_would_refuse_total", "Decisions that would have been refusals without acl.dry_run.", func() float64 { return float64(s.control.dryRun.Refused()) })
	}
	gauge("skerry_agent_services", "Instances registered at this node's agent.", func() float64 { return float64(len(s.agent.Instances())) })
}
