package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/tool/bench"
)

// group is servers that hold one catalog, on this machine.
type group struct {
	ctx     context.Context
	bin     string
	servers []*process
	join    []string
	agents  []*process // of the servers; registrations go to them, if there are any
	secure  bool
	token   string // the file of a join token; empty: connections are plain
}

// form starts servers that form a cluster, and waits until each of them takes writes.
func form(ctx context.Context, bin string, n int) (*group, error) {
	return (&group{ctx: ctx, bin: bin}).form(n)
}

func (g *group) form(n int) (*group, error) {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = freePort()
		g.join = append(g.join, "127.0.0.1:"+strconv.Itoa(ports[i]))
	}
	for _, port := range ports {
		if _, err := g.add(port, n); err != nil {
			g.stop()
			return nil, err
		}
	}
	for _, p := range g.servers {
		if err := leader(p.http); err != nil {
			g.stop()
			return nil, err
		}
	}
	return g, nil
}

// add starts one more server, which joins when expect is 0.
func (g *group) add(port, expect int) (*process, error) {
	p, err := server(fmt.Sprint("s", len(g.servers)+1), fmt.Sprintf("ports { quorum = %d bus = %d }", freePort(), freePort()),
		"-bootstrap-expect", strconv.Itoa(expect), "-server-port", strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	for _, at := range g.join {
		p.args = append(p.args, "-retry-join", at)
	}
	if err := g.admit(p, "-server"); err != nil {
		return nil, err
	}
	g.servers = append(g.servers, p)
	_, err = p.run(g.ctx, g.bin)
	return p, err
}

// admit gives a process a join token, if the group is secure. The first one makes the authority.
func (g *group) admit(p *process, kind string) error {
	if !g.secure {
		return nil
	}
	if g.token == "" || kind == "-agent" {
		args := []string{"token", "create", kind, "-uses", "100"}
		if g.token == "" {
			args = append(args, "-data-dir", p.dir)
		} else {
			args = append(args, "-http-addr", g.servers[0].http)
		}
		secret, err := exec.Command(g.bin, args...).Output()
		if err != nil {
			return fmt.Errorf("a join token: %w", err)
		}
		g.token = filepath.Join(p.dir, "token")
		if err := os.WriteFile(g.token, secret, 0o600); err != nil {
			return err
		}
	}
	p.args = append(p.args, "-join-token-file", g.token)
	return nil
}

func (g *group) stop() {
	for _, p := range append(g.agents, g.servers...) {
		if p.cmd != nil {
			p.stop()
		}
	}
}

// registrar returns the nth process to register at.
func (g *group) registrar(n int) *process {
	if len(g.agents) > 0 {
		return g.agents[n%len(g.agents)]
	}
	return g.servers[0]
}

// cpu returns the CPU time that all servers have used.
func (g *group) cpu() (all time.Duration, err error) {
	for _, p := range g.servers {
		one, err := bench.CPU(p.pid())
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all, nil
}

// cpuOf returns the CPU time that all servers use while do runs.
func (g *group) cpuOf(do func() error) (time.Duration, error) {
	before, err := g.cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := g.cpu()
	return after - before, err
}

// put sends a PUT; any status other than 200 is an error.
func put(ctx context.Context, c *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %d %s", url, resp.StatusCode, text)
	}
	return err
}

// caller is a client that keeps many connections.
func caller(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: conns, MaxIdleConnsPerHost: conns}}
}

// leaderless kills or stops the leader of the store and measures how long a counter at
// another server stands still.
func (s *suite) leaderless(bin string) error {
	for _, how := range []struct {
		name   string
		signal syscall.Signal
	}{{"kill -9", syscall.SIGKILL}, {"SIGSTOP", syscall.SIGSTOP}} {
		g, err := form(s.ctx, bin, 3)
		if err != nil {
			return err
		}
		slowest, writes, err := g.loseLeader(how.signal)
		g.stop()
		if err != nil {
			return err
		}
		s.add(how.name+" of the store's leader: writes through another", "answered ≤ 3 s, none failed or twice",
			fmt.Sprintf("slowest %v of %d, none failed or twice", slowest.Round(time.Millisecond), writes), slowest <= 3*time.Second)
	}
	return nil
}

// loseLeader counts by compare-and-swap while the leader dies.
func (g *group) loseLeader(signal syscall.Signal) (slowest time.Duration, writes int, err error) {
	body, err := read("http://" + g.servers[0].http + "/v1/status/leader")
	if err != nil {
		return 0, 0, err
	}
	var leads, other *process
	for i, p := range g.servers {
		if strings.Contains(string(body), g.join[i]) {
			leads = p
		} else {
			other = p
		}
	}
	if leads == nil {
		return 0, 0, fmt.Errorf("the leader %s is none of %v", body, g.join)
	}
	c, url, index := caller(4), "http://"+other.http+"/v1/kv/count", uint64(0)
	for began := time.Now(); time.Since(began) < 8*time.Second; {
		if writes == 200 {
			if err := leads.cmd.Process.Signal(signal); err != nil {
				return 0, 0, err
			}
			began = time.Now()
		}
		at := time.Now()
		resp, err := c.Do(must(http.NewRequest(http.MethodPut, fmt.Sprintf("%s?cas=%d", url, index), strings.NewReader(strconv.Itoa(writes+1)))))
		if err != nil {
			return 0, 0, err
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || strings.TrimSpace(string(text)) != "true" {
			return 0, 0, fmt.Errorf("write %d: %d %s %v", writes+1, resp.StatusCode, text, err)
		}
		writes++
		slowest = max(slowest, time.Since(at))
		var pairs []struct{ ModifyIndex uint64 }
		body, err := read(url + "?consistent")
		if err == nil {
			err = json.Unmarshal(body, &pairs)
		}
		if err != nil || len(pairs) != 1 {
			return 0, 0, fmt.Errorf("the counter: %s %v", body, err)
		}
		index = pairs[0].ModifyIndex
	}
	return slowest, writes, nil
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}
