// Package e2e runs the real binary with real programs around it. A test whose
// program is not on PATH skips and says so.
package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
	"github.com/skerryhq/skerry/tool/sandbox"
)

// Four tests run at a time, unless -parallel says another number: they wait for the programs that
// they start more than they compute.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "4")
	program.Main(m)
}

// patience bounds every wait for something that is sure to come.
const patience = 30 * time.Second

// agent is a running binary with its own data folder.
type agent struct {
	t         testing.TB
	config    string
	args      []string
	cmd       *exec.Cmd
	log       *os.File
	http, dns string   // host:port
	files     int      // its open-file limit; 0: this process's own
	within    []string // the beginning of its command line; for a network namespace
}

// start runs the binary with a server's configuration and what extra adds, and
// returns when it listens.
func start(t testing.TB, extra map[string]any, args ...string) *agent {
	t.Helper()
	return startIn(t, nil, extra, args...)
}

// startIn is start with a beginning of the command line.
func startIn(t testing.TB, within []string, extra map[string]any, args ...string) *agent {
	t.Helper()
	dir := t.TempDir()
	ports := map[string]any{
		"http": program.Port(t), "dns": program.Port(t), "server": program.Port(t),
		"serf_lan": program.Port(t), "serf_wan": program.Port(t), "grpc": -1, "grpc_tls": -1,
	}
	config := map[string]any{
		"node_name": "n1", "server": true, "bootstrap_expect": 1, "bind_addr": "127.0.0.1",
		"data_dir": filepath.Join(dir, "data"), "log_level": "info", "ports": ports,
	}
	for k, v := range extra {
		if k == "ports" {
			maps.Copy(ports, v.(map[string]any))
			continue
		}
		config[k] = v
	}
	a := &agent{
		t: t, config: filepath.Join(dir, "agent.json"), args: args, within: within,
		http: local(ports["http"].(int)), dns: local(ports["dns"].(int)),
	}
	a.write(config)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	a.log = log
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			a.showLog()
		}
		log.Close()
	})
	a.run()
	return a
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (a *agent) write(config map[string]any) {
	a.t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(a.config, data, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// run starts the process and waits until it has said that it listens for DNS,
// which it does last.
func (a *agent) run() {
	a.t.Helper()
	if err := a.tryRun(); err != nil {
		a.showLog()
		a.t.Fatal(err)
	}
}

// tryRun is run for a process that may end at once.
func (a *agent) tryRun() error {
	a.t.Helper()
	line := append(slices.Clone(a.within), program.Skerry(a.t), "agent", "-config-file", a.config)
	line = append(line, a.args...)
	if a.files > 0 {
		line = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, a.files)}, line...)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = a.log
	listens, err := sandbox.Start(cmd)
	if err != nil {
		return err
	}
	a.cmd = cmd
	return listens()
}

func (a *agent) showLog() {
	if data, err := os.ReadFile(a.log.Name()); err == nil {
		a.t.Logf("log of the agent:\n%s", data[max(0, len(data)-8000):])
	}
}

// kill ends the process without a warning.
func (a *agent) kill() {
	if a.cmd != nil {
		a.cmd.Process.Kill()
		a.cmd.Wait()
		a.cmd = nil
	}
}

// stop asks the process to end and waits until it has.
func (a *agent) stop() {
	a.t.Helper()
	a.signal(syscall.SIGTERM)
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the agent ended with %v", err)
	}
	a.cmd = nil
}

func (a *agent) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) client() *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{Address: a.http})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// reply is an HTTP answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	proto  string
}

// asker returns a client for questions that are asked many times over: no connection stays
// behind.
func (a *agent) asker() *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{Address: a.http, Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *agent) request(method, path, body string) reply {
	a.t.Helper()
	return request(a.t, http.DefaultClient, method, "http://"+a.http+path, body)
}

func request(t testing.TB, c *http.Client, method, url, body string) reply {
	t.Helper()
	r, err := tryRequest(c, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryRequest(c *http.Client, method, url, body string) (reply, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	return send(c, req)
}

func send(c *http.Client, req *http.Request) (reply, error) {
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data), resp.Proto}, err
}

// ok makes a request that has to be answered with 200.
func (a *agent) ok(method, path, body string) reply {
	a.t.Helper()
	r := a.request(method, path, body)
	if r.status != http.StatusOK {
		a.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	return r
}

// register registers services, each a JSON object as agent/service/register
// takes it.
func (a *agent) register(services ...string) {
	a.t.Helper()
	for _, s := range services {
		a.ok("PUT", "/v1/agent/service/register", s)
	}
}

// instances returns "id status" of each instance of a service.
func (a *agent) instances(service string) []string {
	a.t.Helper()
	found, _, err := a.asker().Health().Service(service, "", false, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	out := []string{}
	for _, f := range found {
		out = append(out, f.Service.ID+" "+f.Checks.AggregatedStatus())
	}
	return out
}

// await polls until is answers nil; what other programs do gives no event.
func await(t testing.TB, what string, is func() error) {
	t.Helper()
	awaitFor(t, patience, what, is)
}

// awaitFor is await with a patience of its own.
func awaitFor(t testing.TB, patience time.Duration, what string, is func() error) {
	t.Helper()
	if err := program.Await(patience, is); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// awaitInstances polls until the service's instances are those.
func (a *agent) awaitInstances(service string, want ...string) {
	a.t.Helper()
	await(a.t, "instances of "+service, func() error {
		if got := a.instances(service); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// background runs a program until the test ends, its output in the test's log
// when the test fails.
func background(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	launch(t, cmd)
	t.Cleanup(func() {
		if data, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(name), data[max(0, len(data)-4000):])
		}
		log.Close()
	})
	return cmd
}

// launch starts cmd in a process group of its own, and ends the group with the test.
func launch(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
}
