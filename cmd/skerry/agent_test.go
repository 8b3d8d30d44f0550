package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/test/testlog"
)

// runningAgent runs an agent on a unix socket with the files of dir. stop ends it
// and waits.
func runningAgent(t *testing.T, dir string) (c *api.Client, log *testlog.Log, stop func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	src := config.Source{Dev: true, Dirs: []string{dir}, Flags: map[string]any{
		"addresses.http": "unix://" + socket, "ports.dns": -1, "node_name": "here", "bind_addr": "127.0.0.1",
	}}
	ctx, cancel := context.WithCancel(context.Background())
	banner, stdout := io.Pipe()
	log = &testlog.Log{}
	ended := make(chan error, 1)
	go func() {
		err := runAgent(ctx, src, stdout, log)
		stdout.CloseWithError(io.EOF)
		ended <- err
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	lines := bufio.NewScanner(banner)
	for lines.Scan() && !strings.Contains(lines.Text(), "HTTP") {
	}
	go io.Copy(io.Discard, banner)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(&api.Config{Address: "unix://" + socket, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c, log, stop
}

func TestWatchesOfTheConfiguration(t *testing.T) {
	if _, err := exec.LookPath("mkfifo"); err != nil {
		t.Skip("needs mkfifo")
	}
	dir := t.TempDir()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	told := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- r.URL.Path + " " + string(body)
	}))
	defer target.Close()
	conf := func(watches string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "w.hcl"), []byte("enable_local_script_checks = true\n"+watches), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const byProgram = `watches = [{ type = "service", service = "web", args = ["sh", "-c", "cat > FIFO"] }]`
	conf(strings.ReplaceAll(byProgram, "FIFO", fifo))
	c, log, stop := runningAgent(t, dir)
	read := func() string {
		t.Helper()
		b, err := os.ReadFile(fifo) // waits for the program
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if got := read(); got != "[]" {
		t.Errorf("told %s, want the present state", got)
	}
	register := func(port int) {
		t.Helper()
		if err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: port}); err != nil {
			t.Fatal(err)
		}
	}
	register(80)
	if got := read(); !strings.Contains(got, `"Port":80`) {
		t.Errorf("told %s, want web", got)
	}
	conf(strings.ReplaceAll(`watches {
  type         = "service"
  service      = "web"
  handler_type = "http"
  http_handler_config { path = "URL/hook" }
}`, "URL", target.URL))
	if err := c.Agent().Reload(); err != nil {
		t.Fatal(err)
	}
	if got := <-told; !strings.HasPrefix(got, "/hook [") || !strings.Contains(got, `"Port":80`) {
		t.Errorf("after the reload told %s", got)
	}
	register(81)
	if got := <-told; !strings.Contains(got, `"Port":81`) {
		t.Errorf("told %s", got)
	}
	stop()
	if text := log.String(); strings.Contains(text, "take effect at the next start") {
		t.Errorf("keys that nobody changed are told as changed:\n%s", text)
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "watch failed") {
		t.Errorf("the log tells of errors:\n%s", text)
	}
}

// Watches of files need no more permission than in Consul: none.
func TestScriptWatchesNeedNoPermission(t *testing.T) {
	for _, of := range []string{`args = ["true"]`, `handler = "true"`, `handler_type = "script" args = ["true"]`} {
		if _, _, err := load(config.Source{Dev: true, HCL: []string{`watches = [{ type = "services" ` + of + ` }]`}}); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}
}

func TestOwnAddress(t *testing.T) {
	for listening, want := range map[string]string{
		"127.0.0.1:8500": "127.0.0.1:8500", "0.0.0.0:8500": "127.0.0.1:8500", "[::]:8500": "[::1]:8500", "unix:///run/s": "unix:///run/s",
	} {
		if got := ownAddress([]string{listening}); got != want {
			t.Errorf("%s: %s, want %s", listening, got, want)
		}
	}
}
