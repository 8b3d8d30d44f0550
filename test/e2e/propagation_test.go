package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// figures are those of GET /v1/skerry/propagation at a server.
type figures struct {
	Servers []struct {
		Server            string
		P50, P99, Waiting float64
		Changes           int
	}
	Agents struct {
		P50, P99 float64
		Changes  int
		Late     []string
	}
	Services  []serviceFigures
	Announced struct {
		P50, P99 float64
		Changes  int
	}
}

type serviceFigures struct {
	Service         string
	Servers, Agents struct {
		P50, P99 float64
		Changes  int
	}
}

func (a *agent) propagation() (f figures, err error) {
	a.t.Helper()
	body := a.ok("GET", "/v1/skerry/propagation", "").body
	if err := json.Unmarshal([]byte(body), &f); err != nil {
		a.t.Fatalf("%v in %s", err, body)
	}
	return f, fmt.Errorf("got %s", body)
}

// Each server times changes that are made at it to the others and to agents, those of a canary that no list shows among
// them. A server or an agent that is stopped is named, and a server that goes on is named no more.
func TestTheWayOfChangesIsTimed(t *testing.T) {
	t.Parallel()
	all, at := serversWith(t, 3, map[string]any{"canary_interval": "1s"})
	one := all[0]
	web := joined(t, "web1", at)
	web.follows("web", 1)
	if err := web.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "own", Name: "cache", Port: 1}); err != nil {
		t.Fatal(err)
	}
	await(t, "the agent times its changes", func() error {
		if f, got := web.propagation(); f.Announced.Changes == 0 || f.Announced.P99 <= 0 {
			return got
		}
		return nil
	})
	n, client := 0, one.client()
	await(t, "figures of servers, agents and the service", func() error {
		n++
		if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "w", Name: "web", Port: 80 + n%1000}); err != nil {
			t.Fatal(err)
		}
		f, got := one.propagation()
		switch {
		case len(f.Servers) != 2 || f.Servers[0].Server != "s2" || f.Servers[1].Server != "s3":
			return got
		case f.Servers[0].Changes < 3 || f.Servers[1].Changes < 3 || f.Agents.Changes < 2 || f.Agents.P99 <= 0:
			return got
		case !slices.ContainsFunc(f.Services, func(s serviceFigures) bool { // "cache" is among them where the agent is attached here
			return s.Service == "web" && s.Servers.Changes >= 2 && s.Agents.Changes >= 1
		}):
			return got
		}
		t.Log(got)
		return nil
	})
	services, _, err := one.client().Catalog().Services(nil)
	if err != nil || len(services) != 3 { // cache, consul, web
		t.Errorf("services: %v, %v", services, err)
	}
	if nodes, _, err := one.client().Catalog().Nodes(nil); err != nil || len(nodes) != 4 {
		t.Errorf("nodes: %v, %v", nodes, err)
	}
	if checks, _, err := one.client().Health().State("any", nil); err != nil || len(checks) != 4 {
		t.Errorf("checks: %v, %v", checks, err)
	}
	metrics := one.ok("GET", "/metrics", "").body
	for _, name := range []string{`skerry_propagation_server_seconds_count{server="s2"}`, "skerry_propagation_agent_seconds_count",
		`skerry_propagation_service_seconds_count{service="web",stage="servers"}`, `skerry_propagation_waiting_seconds{server="s3"}`, "skerry_propagation_late_agents"} {
		if !strings.Contains(metrics, "\n"+name+" ") {
			t.Errorf("no metric %s", name)
		}
	}

	all[2].signal(syscall.SIGSTOP)
	defer all[2].signal(syscall.SIGCONT)
	waits := func(f figures) float64 {
		if len(f.Servers) == 2 && f.Servers[1].Server == "s3" {
			return f.Servers[1].Waiting
		}
		return -1
	}
	await(t, "the server that is stopped waits", func() error {
		if f, got := one.propagation(); waits(f) < 3000 || f.Servers[1].P99 < 2000 || f.Servers[0].Waiting > 2000 {
			return got
		}
		return nil
	})
	out, err := exec.Command(program.Skerry(t), "info", "-http-addr", one.http).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "s3 has acknowledged nothing for") {
		t.Errorf("skerry info: %v\n%s", err, out)
	}
	all[2].signal(syscall.SIGCONT)
	await(t, "the server goes on", func() error {
		if f, got := one.propagation(); waits(f) > 2000 || waits(f) < 0 {
			return got
		}
		return nil
	})

	_, home := web.homes()
	web.signal(syscall.SIGSTOP)
	defer web.signal(syscall.SIGCONT)
	await(t, "the agent that is stopped is late", func() error {
		if f, got := all[home].propagation(); strings.Join(f.Agents.Late, " ") != "web1" {
			return got
		}
		return nil
	})
}
