package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/tool/bench"
)

// contender is a server under one load.
type contender struct {
	name string
	load func() (bench.Result, error)
}

// figure is the result of a contender: the median CPU of a request in microseconds, and
// the best rate in requests a second.
type figure struct {
	name           string
	cpu, perSecond float64
}

func (f figure) String() string {
	return fmt.Sprintf("%s %.1f µs, %.0f/s", f.name, f.cpu, f.perSecond)
}

// inTurns measures the contenders in turns, so that other load of the machine falls on
// all of them.
func inTurns(all []contender) ([]figure, error) {
	figures, cpu := make([]figure, len(all)), make([][]float64, len(all))
	for range 5 {
		for i, c := range all {
			r, err := c.load()
			if err == nil && r.Errors > 0 {
				err = fmt.Errorf("%d requests failed: %s", r.Errors, r.FirstError)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			cpu[i] = append(cpu[i], r.CPUPerRequest)
			figures[i] = figure{c.name, median(cpu[i]), max(figures[i].perSecond, r.PerSecond)}
		}
	}
	return figures, nil
}

func median(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// addRead adds the row of a read: the first figure is ours, the second the bare server's,
// and the others are those of the peers, which must take more CPU than ours.
func (s *suite) addRead(what string, most float64, f []figure) {
	ours, bare, peers := f[0], f[1], f[2:]
	ratio := ours.cpu / bare.cpu
	s.add(what, fmt.Sprintf("≤ %.1f × CPU of a bare server", most),
		fmt.Sprintf("%.2f × (%v; %v)", ratio, ours, bare), ratio <= most)
	for _, p := range peers {
		s.add("… beside "+p.name+" in this run", "less CPU, more a second",
			fmt.Sprintf("%.2f × the CPU, %.1f × the rate (%v)", ours.cpu/p.cpu, ours.perSecond/p.perSecond, p), ours.cpu < p.cpu && ours.perSecond > p.perSecond)
	}
}

// registries starts us and, where there is one, a Consul.
func (s *suite) registries(bin string) (names []string, started []*process, err error) {
	if s.agents {
		p, err := s.behind(bin)
		if err != nil {
			return nil, nil, err
		}
		return []string{"an agent of Skerry"}, []*process{p}, nil
	}
	names = []string{"Skerry"}
	bins := []string{bin}
	if consul := os.Getenv("CONSUL_BIN"); consul != "" {
		names, bins = append(names, "Consul"), append(bins, consul)
	}
	for i, bin := range bins {
		p, _, err := agent(s.ctx, bin)
		if err == nil {
			started = append(started, p)
			err = leader(p.http)
		}
		if err != nil {
			stopAll(started)
			return nil, nil, fmt.Errorf("%s: %w", names[i], err)
		}
	}
	return names, started, nil
}

// at names where a read is measured.
func (s *suite) at(what string) string {
	if s.agents {
		return what + ", at an agent"
	}
	return what
}

func stopAll(started []*process) {
	for _, p := range started {
		p.stop()
	}
}

// health compares health queries with a handler that writes the same bytes.
func (s *suite) health(bin string) error {
	names, started, err := s.registries(bin)
	if err != nil {
		return err
	}
	defer stopAll(started)
	const path = "/v1/health/service/bench?passing"
	get := func(name string, p *process, path string) contender {
		return contender{name, func() (bench.Result, error) {
			return bench.Get(s.ctx, bench.Options{HTTP: p.http, PID: p.pid(), Duration: 2 * time.Second}, path)
		}}
	}
	var all []contender
	for i, p := range started {
		if _, err := bench.Health(s.ctx, bench.Options{HTTP: p.http, Duration: time.Second}); err != nil {
			return err
		}
		all = append(all, get(names[i], p, path))
	}
	body, err := read("http://" + started[0].http + path)
	if err != nil {
		return err
	}
	b, err := bareServer(s.ctx, "bare-http", body)
	if err != nil {
		return err
	}
	defer b.stop()
	figures, err := inTurns(slices.Insert(all, 1, get("bare net/http", b, "/")))
	if err != nil {
		return err
	}
	s.addRead(s.at("GET health/service/web?passing, 10 instances, 32 concurrent"), 1.3, figures)
	return nil
}

func read(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// dns compares DNS answers with a server that writes the same bytes, and with a CoreDNS
// that has the same records in a zone file.
func (s *suite) dns(bin string) error {
	names, started, err := s.registries(bin)
	if err != nil {
		return err
	}
	defer stopAll(started)
	for _, kind := range []uint16{dns.TypeA, dns.TypeSRV} {
		if err := s.dnsOf(kind, names, started); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) dnsOf(kind uint16, names []string, registries []*process) error {
	ask := func(name string, p, registry *process) contender {
		return contender{name, func() (bench.Result, error) {
			// The others have no API, so that the service is registered at a registry.
			return bench.DNS(s.ctx, bench.Options{HTTP: registry.http, DNS: p.dns, PID: p.pid(), Duration: 2 * time.Second}, kind)
		}}
	}
	var all []contender
	for i, p := range registries {
		c := ask(names[i], p, p)
		if _, err := c.load(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, c)
	}
	answer, err := askDNS(registries[0].dns, kind)
	if err != nil {
		return err
	}
	packed, err := answer.Pack()
	if err != nil {
		return err
	}
	b, err := bareServer(s.ctx, "bare-dns", packed)
	if err != nil {
		return err
	}
	defer b.stop()
	all = slices.Insert(all, 1, ask("bare miekg/dns", b, registries[0]))
	if bin := os.Getenv("COREDNS_BIN"); bin != "" {
		c, err := coreDNS(s.ctx, bin, answer)
		if err != nil {
			return fmt.Errorf("CoreDNS: %w", err)
		}
		defer c.stop()
		all = append(all, ask("CoreDNS", c, registries[0]))
	}
	figures, err := inTurns(all)
	if err != nil {
		return err
	}
	s.addRead(s.at("DNS over UDP, 10 instances, "+dns.TypeToString[kind]), 1.3, figures)
	return nil
}

func askDNS(addr string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion("bench.service.consul.", kind)
	m.SetEdns0(4096, false)
	in, _, err := (&dns.Client{UDPSize: 4096}).Exchange(m, addr)
	return in, err
}

// zone returns a zone file with the records of an answer.
func zone(answer *dns.Msg) string {
	var b strings.Builder
	b.WriteString("consul. 0 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0\nconsul. 0 IN NS ns.consul.\nns.consul. 0 IN A 127.0.0.1\n")
	for _, r := range append(slices.Clone(answer.Answer), answer.Extra...) {
		if r.Header().Rrtype == dns.TypeA || r.Header().Rrtype == dns.TypeSRV {
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}
