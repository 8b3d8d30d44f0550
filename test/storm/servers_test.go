//go:build linux

package storm

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// process is a server or an agent on a host of its own. Its ports are the defaults.
type process struct {
	*host
	t      testing.TB
	label  string       // its node name at first
	named  atomic.Int32 // how often it got another name
	dir    string
	binary string
	env    []string
	token  string         // the file of its join token; empty: its connections are plain
	keys   map[string]any // of its configuration, beside those of every process
	cmd    *exec.Cmd
	log    *os.File
	ended  atomic.Int32 // its lives that have ended

	base   string       // of its URLs
	http   *http.Client // from its own host, so that no cut is in the way
	client *api.Client  // likewise
}

// server is a server.
type server struct {
	*process
	n      int       // from 0
	others []*server // the same, as it is seen from the host of each server
}

// newServer prepares a server, one of the first hosts of a lab. Its data is below dir.
func newServer(t testing.TB, l *lab, n, servers int, dir, binary string) *server {
	t.Helper()
	s := &server{process: newProcess(t, l.hosts[n], fmt.Sprint("s", n+1), dir, binary), n: n}
	s.configure(map[string]any{"server": true, "bootstrap_expect": servers, "retry_join": l.addresses(servers)})
	for _, h := range l.hosts[:servers] {
		seen := &process{host: s.host, label: s.label, base: "http://" + s.address + ":8500", http: client(h)}
		s.others = append(s.others, &server{process: seen, n: n})
		t.Cleanup(seen.http.CloseIdleConnections)
	}
	return s
}

// newProcess prepares a process without a configuration.
func newProcess(t testing.TB, h *host, label, dir, binary string) *process {
	t.Helper()
	p := &process{host: h, t: t, label: label, dir: dir, binary: binary, base: "http://127.0.0.1:8500", http: client(h)}
	var err error
	if p.log, err = os.Create(filepath.Join(t.ArtifactDir(), label+".log")); err != nil {
		t.Fatal(err)
	}
	if p.client, err = api.NewClient(&api.Config{Address: "127.0.0.1:8500", HttpClient: p.http}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		p.http.CloseIdleConnections()
		if t.Failed() {
			p.showLog()
		}
		p.log.Close()
	})
	return p
}

// configure writes the configuration: the given keys, and those of every process.
func (s *process) configure(keys map[string]any) {
	s.t.Helper()
	s.keys = maps.Clone(keys)
	if s.token != "" {
		keys["join_token_file"] = s.token
	} else {
		keys["insecure_cluster"] = true
	}
	maps.Copy(keys, map[string]any{
		"node_name": s.name(), "bind_addr": s.address, "client_addr": "0.0.0.0",
		"data_dir": s.data(), "log_level": "info", "ports": map[string]any{"grpc": -1, "grpc_tls": -1},
	})
	config, err := json.Marshal(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.config(), config, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// client speaks from a host.
func client(from *host) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: from.dial, MaxIdleConnsPerHost: 64}}
}

// seenFrom is the server as it is seen from a host, over the network; 0: from its own.
func (s *server) seenFrom(host int) *server {
	if host == 0 {
		return s
	}
	return s.others[host-1]
}

// name is the node name.
func (s *process) name() string {
	if n := s.named.Load(); n > 0 {
		return fmt.Sprint(s.label, "-", n+1)
	}
	return s.label
}

func (s *process) config() string { return filepath.Join(s.dir, "config.json") }
func (s *process) data() string   { return filepath.Join(s.dir, "data") }

// run starts the process and waits until it has said that it listens for DNS, which it does
// last.
func (s *process) run() {
	s.t.Helper()
	line := append(s.in(), s.binary, "agent", "-config-file", s.config())
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), s.env...), s.log
	listens, err := sandbox.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	if err := listens(); err != nil {
		s.cmd = nil
		s.t.Fatalf("%s: %v", s.name(), err)
	}
}

// ready returns an error while the process is not ready, as its load balancer would see it.
func (s *process) ready(ctx context.Context) error {
	var ready struct{ Ready bool }
	if err := s.ask(ctx, "GET", "/v1/status/ready", nil, &ready); err != nil {
		return fmt.Errorf("%s is not ready: %w", s.name(), err)
	}
	return nil
}

// lives numbers the lives of the process.
func (s *process) lives() int { return int(s.ended.Load()) }

// kill ends the process without a warning.
func (s *process) kill() {
	if s.cmd != nil {
		s.ended.Add(1)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// left waits until the process has ended by itself, or ends it after a while.
func (s *process) left(within time.Duration) {
	s.t.Helper()
	if s.cmd == nil {
		return // it did not start again, which is an error already
	}
	late := time.AfterFunc(within, func() {
		s.t.Errorf("%s has not left after %v", s.name(), within)
		s.cmd.Process.Kill()
	})
	s.cmd.Wait()
	late.Stop()
	s.ended.Add(1)
	s.cmd = nil
}

func (s *process) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		return // it did not start again, which is an error already
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("%s: %v", s.name(), err)
	}
}

func (s *process) showLog() {
	if data, err := os.ReadFile(s.log.Name()); err == nil {
		s.t.Logf("log of %s:\n%s", s.name(), data[max(0, len(data)-6000):])
	}
}
