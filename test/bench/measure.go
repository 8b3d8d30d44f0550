package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/skerryhq/skerry/tool/bench"
)

const mib = 1 << 20

func (s *suite) start(bin string) error {
	p, took, err := agent(s.ctx, bin)
	if err != nil {
		return err
	}
	defer p.stop()
	s.add("start to first answer", "≤ 0.5 s", took.Round(time.Millisecond).String(), took <= 500*time.Millisecond)
	time.Sleep(2 * time.Second)
	idle, err := rss(p.pid())
	s.add("memory when idle", "≤ 60 MB", fmt.Sprintf("%.1f MB", float64(idle)/1e6), idle <= 60e6)
	return err
}

func (s *suite) watch(bin string) error {
	p, _, err := agent(s.ctx, bin)
	if err != nil {
		return err
	}
	defer p.stop()
	r, err := bench.Watch(s.ctx, bench.Options{HTTP: p.http, Concurrency: 1000, Requests: 100})
	if err != nil {
		return err
	}
	scale, err := s.slower()
	if err != nil {
		return err
	}
	limit := time.Duration(float64(35*time.Millisecond) * scale)
	s.add("1,000 blocking watchers, one change: the last one", "p99 ≤ 35 ms",
		fmt.Sprintf("p99 %v, p50 %v; this machine is %.2f × slower than the one of the 35 ms", r.LastP99.Round(100*time.Microsecond), r.LastP50.Round(100*time.Microsecond), scale), r.LastP99 <= limit)
	return nil
}

func (s *suite) beat(bin string) error {
	for _, checks := range []int{100, 10_000} {
		p, _, err := agent(s.ctx, bin)
		if err != nil {
			return err
		}
		o := bench.Options{HTTP: p.http, PID: p.pid(), Instances: checks, Duration: 4 * time.Second}
		if _, err := bench.Beat(s.ctx, bench.Options{HTTP: p.http, Instances: checks, Requests: 1}); err != nil {
			p.stop()
			return err
		}
		before, err := syncs(p.http)
		if err != nil {
			p.stop()
			return err
		}
		r, err := bench.BeatOnly(s.ctx, o)
		if err != nil {
			p.stop()
			return err
		}
		after, err := syncs(p.http)
		p.stop()
		if err != nil {
			return err
		}
		s.add(fmt.Sprintf("TTL beats, %d checks", checks), "≥ 25,000/s, no disk write",
			fmt.Sprintf("%.0f/s, %.1f µs CPU, %d journal syncs", r.PerSecond, r.CPUPerRequest, after-before), r.PerSecond >= 25_000 && after == before)
	}
	return nil
}

// syncs reads how often the journal was synced.
func syncs(addr string) (int, error) {
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var n float64
		if _, err := fmt.Sscanf(line, "skerry_journal_syncs_total %g", &n); err == nil {
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("no skerry_journal_syncs_total at %s", addr)
}

// register fills one agent to 100,000 services and looks at the first and the
// last tenth.
func (s *suite) register(bin string) error {
	p, _, err := agent(s.ctx, bin)
	if err != nil {
		return err
	}
	defer p.stop()
	time.Sleep(2 * time.Second)
	idle, err := rss(p.pid())
	if err != nil {
		return err
	}
	var first, last bench.Result
	const steps, each = 10, 10_000
	var elapsed time.Duration
	for i := range steps {
		r, err := bench.Register(s.ctx, bench.Options{HTTP: p.http, PID: p.pid(), Concurrency: 64, Requests: each})
		if err != nil {
			return err
		}
		if r.Errors > 0 {
			return fmt.Errorf("%d registrations failed: %s", r.Errors, r.FirstError)
		}
		elapsed += r.Elapsed
		if i == 0 {
			first = r
		}
		last = r
	}
	all := steps * each / elapsed.Seconds()
	s.add("register distinct services, durable, 64 concurrent, to 100,000", "≥ 15,000/s, flat",
		fmt.Sprintf("%.0f/s; first 10,000 %.0f/s at %.0f µs CPU, last %.0f/s at %.0f µs", all, first.PerSecond, first.CPUPerRequest, last.PerSecond, last.CPUPerRequest), all >= 15_000)
	time.Sleep(20 * time.Second) // the load's leftovers are freed
	full, err := rss(p.pid())
	each2 := float64(full-idle) / (steps * each)
	s.add("100,000 instances, each with a check", "≤ 1.5 KB RSS each above idle", fmt.Sprintf("%.2f KB (%.0f MB in all)", each2/1024, float64(full)/mib), each2 <= 1.5*1024)
	return err
}

func (s *suite) idleWatchers(bin string) error {
	p, _, err := agent(s.ctx, bin)
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := bench.Health(s.ctx, bench.Options{HTTP: p.http, Requests: 1000}); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	idle, err := rss(p.pid())
	if err != nil {
		return err
	}
	resp, err := http.Get("http://" + p.http + "/v1/health/service/bench")
	if err != nil {
		return err
	}
	resp.Body.Close()
	const watchers = 15_000
	conns := make([]net.Conn, 0, watchers)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range watchers {
		c, err := net.Dial("tcp", p.http)
		if err != nil {
			return fmt.Errorf("after %d watchers (the open-file limit must be above 15,100): %w", len(conns), err)
		}
		conns = append(conns, c)
		fmt.Fprintf(c, "GET /v1/health/service/bench?wait=600s&index=%s HTTP/1.1\r\nHost: %s\r\n\r\n", resp.Header.Get("X-Consul-Index"), p.http)
	}
	time.Sleep(30 * time.Second) // idle means that nothing happens
	full, err := rss(p.pid())
	each := float64(full-idle) / watchers
	s.add("15,000 idle blocking watchers", "≤ 12 KB each", fmt.Sprintf("%.1f KB", each/1024), each <= 12*1024)
	return err
}
