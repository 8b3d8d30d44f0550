package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tool/bench"
)

// The streams of agents, as the servers name them.
var (
	ownerStream  = link.Kind{Name: "owner"}
	followStream = link.Kind{Name: "follow"}
)

// lone starts one server that takes agents, and returns the address for them.
func (s *suite) lone(bin string) (p *process, at string, err error) {
	at = "127.0.0.1:" + strconv.Itoa(freePort())
	p, err = server("s1", "", "-bootstrap-expect=1", "-server-port", at[len("127.0.0.1:"):])
	if err == nil {
		_, err = p.run(s.ctx, bin)
	}
	if err == nil {
		err = leader(p.http)
	}
	return p, at, err
}

// nodeAgent starts an agent of servers and waits until it is attached.
func (s *suite) nodeAgent(bin, node string, join ...string) (*process, error) {
	return s.agentOf(&group{ctx: s.ctx, bin: bin}, node, join...)
}

func (s *suite) agentOf(g *group, node string, join ...string) (*process, error) {
	p, err := server(node, "")
	if err == nil {
		err = g.admit(p, "-agent")
	}
	if err != nil {
		return nil, err
	}
	p.args = slices.DeleteFunc(p.args, func(a string) bool { return a == "-server" })
	for _, at := range join {
		p.args = append(p.args, "-retry-join", at)
	}
	if _, err := p.run(s.ctx, g.bin); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + p.http + "/v1/status/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		if time.Since(began) > 10*time.Second {
			p.stop()
			return nil, fmt.Errorf("the agent %s does not attach: %v", node, err)
		}
	}
}

// behind starts a server and an agent, in place of a server.
func (s *suite) behind(bin string) (*process, error) {
	p, at, err := s.lone(bin)
	if err != nil {
		return nil, err
	}
	a, err := s.nodeAgent(bin, "bench", at)
	if err != nil {
		p.stop()
		return nil, err
	}
	a.below = p
	return a, nil
}

// forwarded compares a read that an agent passes on with the same read at the server.
func (s *suite) forwarded(bin string) error {
	a, err := s.behind(bin)
	if err != nil {
		return err
	}
	defer a.stop()
	if err := put(s.ctx, http.DefaultClient, "http://"+a.below.http+"/v1/kv/large", bytes.Repeat([]byte("x"), 3000)); err != nil {
		return err
	}
	const path = "/v1/kv/large?stale" // 4 KB of JSON, from the server's memory
	get := func(name string, p *process) contender {
		return contender{name, func() (bench.Result, error) {
			return bench.Get(s.ctx, bench.Options{HTTP: p.http, PID: a.below.pid(), Duration: 2 * time.Second}, path)
		}}
	}
	f, err := inTurns([]contender{get("passed on by an agent", a), get("at the server", a.below)})
	if err != nil {
		return err
	}
	ratio := f[0].cpu / f[1].cpu
	s.add("a read of 4 KB that an agent passes on: CPU of the server", "≤ 3 × a local one", fmt.Sprintf("%.2f × (%v; %v)", ratio, f[0], f[1]), ratio <= 3)
	return nil
}

// idleAgent measures an agent that follows 50 services.
func (s *suite) idleAgent(bin string) error {
	a, err := s.behind(bin)
	if err != nil {
		return err
	}
	defer a.stop()
	c := caller(4)
	for n := range 500 {
		body := fmt.Appendf(nil, `{"Address": "10.0.0.1", "TTL": "10m", "Services": [{"ID": "i", "Name": "idle-%d", "Port": 80}]}`, n%50)
		if err := put(s.ctx, c, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d", a.below.http, n), body); err != nil {
			return err
		}
	}
	for n := range 50 {
		resp, err := http.Get(fmt.Sprintf("http://%s/v1/health/service/idle-%d", a.http, n))
		if err != nil {
			return err
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	time.Sleep(15 * time.Second) // the start is over
	const watched = 20 * time.Second
	var before, after time.Duration
	scale, err := s.scaled(func() (err error) {
		if before, err = bench.Ran(a.pid()); err == nil {
			time.Sleep(watched)
			after, err = bench.Ran(a.pid())
		}
		return err
	})
	if err != nil {
		return err
	}
	full, err := rss(a.pid())
	share := float64(after-before) / float64(watched) * 100
	s.add("an agent that follows 50 services of 10 instances, idle", "≤ 35 MB, ≤ 0.3 % of a core", fmt.Sprintf("%.1f MB, %.2f %%, %.2f scaled (this machine is %.2f × slower than the one of the figure)", float64(full)/1e6, share, share/scale, scale), full <= 35e6 && share <= 0.3*scale)
	return err
}

// spreadAgents registers services at agents of three servers until all three have them.
func (s *suite) spreadAgents(bin string) error {
	for _, load := range []struct{ agents, rate int }{{1, 3000}, {20, 10_000}} {
		g, err := form(s.ctx, bin, 3)
		if err != nil {
			return err
		}
		for i := range load.agents {
			a, err := s.agentOf(g, fmt.Sprint("agent-", i), g.join...)
			if err != nil {
				g.stop()
				return err
			}
			g.agents = append(g.agents, a)
		}
		err = s.spreadOf(g, fmt.Sprintf("registration at %d agents until all three servers hold it, %d/s", load.agents, load.rate), load.rate, 0)
		g.stop()
		if err != nil {
			return err
		}
	}
	return nil
}
