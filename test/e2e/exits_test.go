package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/dockerd"
	"github.com/skerryhq/skerry/test/program"
)

// vanishes returns how long after do it takes until each of the places shows no instance of a service.
func vanishes(t *testing.T, service string, places []*agent, do func()) (took []time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	gone := make([]time.Time, len(places))
	var watching, waiting sync.WaitGroup
	for i, a := range places {
		watching.Add(1)
		waiting.Go(func() {
			var index uint64
			watched := sync.OnceFunc(watching.Done)
			defer watched()
			for {
				found, meta, err := a.asker().Health().Service(service, "", true, (&api.QueryOptions{WaitIndex: index}).WithContext(ctx))
				if err != nil {
					t.Errorf("%s: %v", a.http, err)
					return
				}
				if len(found) == 0 {
					gone[i] = time.Now()
					return
				}
				index = meta.LastIndex
				watched()
			}
		})
	}
	watching.Wait()
	began := time.Now()
	do()
	waiting.Wait()
	for i := range places {
		took = append(took, gone[i].Sub(began).Round(time.Millisecond))
	}
	return took
}

// The end of a program that the agent hears of is seen everywhere before any check could have run: the checks
// here have intervals of 10 s and more, and leases a TTL of 10 s.
func TestExitsAreSeenEverywhere(t *testing.T) {
	program.Need(t, "sh")
	servers, at := servers(t, 3)
	a := joined(t, "web1", at)
	places := append([]*agent{a}, servers...)
	timeserver := program.Build(t, ".", "./examples/timeservice/server")
	for _, tt := range []struct {
		name, service string
		start         func(t *testing.T) (end func())
	}{
		{"a program under skerry run is killed", "job", func(t *testing.T) func() {
			return underRun(t, a, "job", "-check-tcp", "-check-interval", "10s")
		}},
		{"a server with the SDK, as Consul's", "time-agent", func(t *testing.T) func() {
			cmd, _ := sample(t, nil, timeserver, "-registry", "consul://"+a.http, "-name", "time-agent")
			return func() { cmd.Process.Signal(syscall.SIGTERM) }
		}},
		{"a server with the SDK, by a lease", "time-lease", func(t *testing.T) func() {
			cmd, _ := sample(t, nil, timeserver, "-registry", "skerry://"+a.http, "-name", "time-lease")
			return func() { cmd.Process.Signal(syscall.SIGTERM) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			end := tt.start(t)
			seenGone(t, tt.service, places, end)
		})
	}
}

// seenGone ends what has an instance of a service, and checks that all places see that early.
func seenGone(t *testing.T, service string, places []*agent, end func()) {
	t.Helper()
	for _, p := range places {
		await(t, "the service", func() error {
			if found := p.instances(service); len(found) != 1 || !strings.HasSuffix(found[0], " passing") {
				return fmt.Errorf("%v", found)
			}
			return nil
		})
	}
	took := vanishes(t, service, places, end)
	t.Logf("gone at the agent after %v, at the servers after %v", took[0], took[1:])
	for _, d := range took {
		if d > early {
			t.Errorf("gone after %v: later than %v", d, early)
		}
	}
}

// early is before any check could have run.
const early = 5 * time.Second

// A container that ends is seen everywhere, whatever the interval of its check.
func TestTheEndOfAContainerIsSeenEverywhere(t *testing.T) {
	host := dockerd.Start(t)
	program.Need(t, "docker")
	t.Setenv("DOCKER_HOST", host) // of the agent
	servers, at := servers(t, 3)
	a := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": at, "enable_script_checks": true})
	a.attached()
	id := dockerd.Run(t, host, "contained", program.Build(t, ".", "./check/docker/testdata/probe"), []string{"probe"}, "/probe", "wait")
	a.ok("PUT", "/v1/agent/service/register", `{"Name": "contained", "Check": {"DockerContainerID": "`+id+`", "Args": ["/probe", "0"], "Interval": "1h"}}`)
	seenGone(t, "contained", append([]*agent{a}, servers...), func() {
		if out, err := exec.Command("docker", "kill", id).CombinedOutput(); err != nil {
			t.Errorf("docker kill: %v %s", err, out)
		}
	})
}

// underRun registers a program that listens with skerry run, and returns what kills it.
func underRun(t *testing.T, a *agent, name string, args ...string) (end func()) {
	t.Helper()
	pid, port := filepath.Join(t.TempDir(), "pid"), program.Port(t)
	line := append([]string{"run", "-http-addr", a.http, "-name", name, "-port", strconv.Itoa(port)}, args...)
	listener := program.Build(t, ".", "./examples/fileserver")
	script := fmt.Sprintf("echo $$ > %s; exec %s -listen 127.0.0.1:%d", pid, listener, port)
	background(t, program.Skerry(t), append(line, "--", "sh", "-c", script)...)
	return func() {
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Error(err)
			return
		}
		if out, err := exec.Command("kill", "-9", strings.TrimSpace(string(text))).CombinedOutput(); err != nil {
			t.Errorf("kill: %v %s", err, out)
		}
	}
}

// An agent that is killed is lost after its TTL of 5 s, and a moment.
func TestADeadAgentIsLost(t *testing.T) {
	servers, at := servers(t, 3)
	a := joined(t, "web1", at)
	a.ok("PUT", "/v1/agent/service/register", `{"Name": "web", "Port": 80}`)
	for _, s := range servers {
		s.finds("web", "web")
	}
	took := vanishes(t, "web", servers, a.kill)
	t.Logf("gone after %v", took)
	for _, d := range took {
		if d < 3*time.Second || d > 10*time.Second {
			t.Errorf("gone after %v, want about 5 s", d)
		}
	}
}
