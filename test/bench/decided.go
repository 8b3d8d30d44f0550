package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/tool/bench"
)

// reference is the result of a Consul 1.22 on two quiet cores, for runs without a
// CONSUL_BIN.
type reference struct{ perSecond, cpu float64 }

var references = map[string]reference{
	"kv-put":   {15_000, 82},
	"kv-get":   {25_000, 44},
	"external": {2_450, 680},
}

// The bare handler of health queries took bareThere on the machine of the
// references, and its answer was about so large.
const (
	bareThere = 13. // µs of CPU for each request
	bareBytes = 4700
)

// slower is how much slower this machine is, at this moment, than the one of the
// references: shared machines differ by half from one minute to the next.
func (s *suite) slower() (float64, error) {
	b, err := bareServer(s.ctx, "bare-http", bytes.Repeat([]byte("x"), bareBytes))
	if err != nil {
		return 0, err
	}
	defer b.stop()
	r, err := bench.Get(s.ctx, bench.Options{HTTP: b.http, PID: b.pid(), Duration: 2 * time.Second}, "/")
	return r.CPUPerRequest / bareThere, err
}

// scaled runs measure, and returns how much slower this machine was meanwhile than the one of the figures.
func (s *suite) scaled(measure func() error) (float64, error) {
	before, err := s.slower()
	if err == nil {
		err = measure()
	}
	if err != nil {
		return 0, err
	}
	after, err := s.slower()
	return (before + after) / 2, err
}

// scaling is the text for a cost in a row, with its part that is due to this machine taken away.
func scaling(each, scale float64) string {
	return fmt.Sprintf("%.1f µs, %.1f scaled (this machine is %.2f × slower than the one of the figure)", each, each/scale, scale)
}

// versus measures one load on us and, where there is one, on a Consul; else the
// reference, scaled to this machine before and after.
func (s *suite) versus(bin, name string, load func(p *process) (bench.Result, error)) (ours bench.Result, peer reference, measured bool, err error) {
	scale, err := s.scaled(func() (err error) {
		ours, err = s.once(bin, load)
		return err
	})
	if err != nil {
		return ours, peer, false, err
	}
	peer = reference{references[name].perSecond / scale, references[name].cpu * scale}
	if consul := os.Getenv("CONSUL_BIN"); consul != "" {
		theirs, err := s.once(consul, load)
		if err != nil {
			return ours, peer, false, fmt.Errorf("CONSUL_BIN: %w", err)
		}
		return ours, reference{theirs.PerSecond, theirs.CPUPerRequest}, true, nil
	}
	return ours, peer, false, nil
}

func (s *suite) once(bin string, load func(p *process) (bench.Result, error)) (bench.Result, error) {
	p, _, err := agent(s.ctx, bin)
	if err != nil {
		return bench.Result{}, err
	}
	defer p.stop()
	if err := leader(p.http); err != nil {
		return bench.Result{}, err
	}
	r, err := load(p)
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("%d requests failed: %s", r.Errors, r.FirstError)
	}
	return r, err
}

// leader waits until the store takes writes.
func leader(addr string) error {
	c, err := api.NewClient(&api.Config{Address: addr})
	if err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := c.KV().Put(&api.KVPair{Key: "ready"}, nil)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func against(measured bool) string {
	if measured {
		return "Consul in this run"
	}
	return "Consul as measured elsewhere, scaled to this machine:"
}

func (s *suite) keys(bin string) error {
	for _, k := range []struct {
		name, what  string
		concurrency int
		load        func(o bench.Options) (bench.Result, error)
	}{
		{"kv-put", "KV put, 128 concurrent, durable", 128, func(o bench.Options) (bench.Result, error) { return bench.KeyPut(s.ctx, o) }},
		{"kv-get", "KV get, 32 concurrent, linearizable", 32, func(o bench.Options) (bench.Result, error) { return bench.KeyGet(s.ctx, o) }},
	} {
		r, peer, measured, err := s.versus(bin, k.name, func(p *process) (bench.Result, error) {
			return k.load(bench.Options{HTTP: p.http, PID: p.pid(), Concurrency: k.concurrency, Duration: 6 * time.Second})
		})
		if err != nil {
			return err
		}
		s.add(k.what, "≥ 1.5 × Consul's rate, CPU ≤ 0.7 ×",
			fmt.Sprintf("%.2f × and %.2f × (%.0f/s at %.1f µs; %s %.0f/s at %.0f µs)", r.PerSecond/peer.perSecond, r.CPUPerRequest/peer.cpu,
				r.PerSecond, r.CPUPerRequest, against(measured), peer.perSecond, peer.cpu),
			r.PerSecond >= 1.5*peer.perSecond && r.CPUPerRequest <= .7*peer.cpu)
	}
	load := func(p *process) (bench.Result, error) {
		return bench.KeyWatch(s.ctx, bench.Options{HTTP: p.http, Concurrency: 1000, Requests: 100})
	}
	r, err := s.once(bin, load)
	if err != nil {
		return err
	}
	got, ok := fmt.Sprintf("p99 %v, p50 %v; no Consul to compare", r.LastP99.Round(100*time.Microsecond), r.LastP50.Round(100*time.Microsecond)), true
	if consul := os.Getenv("CONSUL_BIN"); consul != "" {
		theirs, err := s.once(consul, load)
		if err != nil {
			return fmt.Errorf("CONSUL_BIN: %w", err)
		}
		got = fmt.Sprintf("p99 %v, Consul's %v", r.LastP99.Round(100*time.Microsecond), theirs.LastP99.Round(100*time.Microsecond))
		ok = r.LastP99 <= theirs.LastP99/3
	}
	s.add("1,000 blocking watchers of a prefix, one change: the last one", "p99 ≤ a third of Consul's", got, ok)
	return nil
}

func (s *suite) external(bin string) error {
	var last bench.Result
	r, peer, measured, err := s.versus(bin, "external", func(p *process) (bench.Result, error) {
		o := bench.Options{HTTP: p.http, PID: p.pid(), Concurrency: 64, Requests: 10_000}
		first, err := bench.External(s.ctx, o)
		if err != nil {
			return first, err
		}
		for range 4 {
			if last, err = bench.External(s.ctx, o); err != nil {
				return last, err
			}
		}
		return first, nil
	})
	if err != nil {
		return err
	}
	s.add("external registrations, 64 concurrent, to 50,000", "≥ 5 × Consul's, flat",
		fmt.Sprintf("%.1f × (%.0f/s at %.0f µs, %s %.0f/s)", r.PerSecond/peer.perSecond, r.PerSecond, r.CPUPerRequest, against(measured), peer.perSecond),
		r.PerSecond >= 5*peer.perSecond)
	if !measured {
		s.add("… the last 10,000 of 50,000", "the same", fmt.Sprintf("%.0f/s at %.0f µs", last.PerSecond, last.CPUPerRequest), last.CPUPerRequest <= 1.3*r.CPUPerRequest)
	}
	return nil
}

// million fills a store with a million keys and starts it again.
func (s *suite) million(bin string) error {
	p, _, err := agent(s.ctx, bin)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()
	if err := leader(p.http); err != nil {
		return err
	}
	const keys = 1_000_000
	if err := fill(s.ctx, p.http, keys); err != nil {
		return err
	}
	began := time.Now()
	if err := p.restart(s.ctx, bin); err != nil {
		return err
	}
	if err := leader(p.http); err != nil {
		return err
	}
	took := time.Since(began)
	time.Sleep(15 * time.Second)
	full, err := rss(p.pid())
	s.add("start with 1,000,000 keys of 200 bytes", "≤ 15 s to the first read and write", took.Round(10*time.Millisecond).String(), took <= 15*time.Second)
	s.add("… memory", "≤ Consul's", fmt.Sprintf("%.0f MB; no Consul to compare", float64(full)/mib), true)
	return err
}

// fill writes keys by transactions of 128.
func fill(ctx context.Context, addr string, keys int) error {
	const each, workers = 128, 8
	value := `"` + strings.Repeat("dmFs", 66) + `AA=="` // base64 of about 200 bytes
	c := caller(workers)
	return inParallel(workers, 0, (keys+each-1)/each, func(n int) error {
		var b strings.Builder
		for i := n * each; i < min((n+1)*each, keys); i++ {
			fmt.Fprintf(&b, `,{"KV":{"Verb":"set","Key":"million/%07d","Value":%s}}`, i, value)
		}
		return put(ctx, c, "http://"+addr+"/v1/txn", []byte("["+b.String()[1:]+"]"))
	})
}
