//go:build linux

package storm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// server is a server on a host of its own. Its ports are the defaults.
type server struct {
	*host
	t      testing.TB
	n      int // from 0
	dir    string
	binary string
	env    []string
	cmd    *exec.Cmd
	log    *os.File
	ended  atomic.Int32 // its lives that have ended

	base   string       // of its URLs
	http   *http.Client // from its own host, so that no cut is in the way
	client *api.Client  // likewise
	others []*server    // the same, as it is seen from each host
}

// newServer prepares a server among all hosts of a lab. Its data is below dir.
func newServer(t testing.TB, l *lab, n int, dir, binary string) *server {
	t.Helper()
	s := &server{host: l.hosts[n], t: t, n: n, dir: dir, binary: binary}
	var join []string
	for _, h := range l.hosts {
		join = append(join, h.address)
	}
	config, err := json.Marshal(map[string]any{
		"node_name": s.name(), "server": true, "bootstrap_expect": len(l.hosts), "retry_join": join, "bind_addr": s.address,
		"insecure_cluster": true, "client_addr": "0.0.0.0", "data_dir": filepath.Join(dir, "data"), "log_level": "info",
		"ports": map[string]any{"grpc": -1, "grpc_tls": -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config(), config, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.log, err = os.Create(filepath.Join(t.ArtifactDir(), s.name()+".log")); err != nil {
		t.Fatal(err)
	}
	s.base, s.http = "http://127.0.0.1:8500", client(s.host)
	for _, h := range l.hosts {
		s.others = append(s.others, &server{host: s.host, n: n, base: "http://" + s.address + ":8500", http: client(h)})
	}
	if s.client, err = api.NewClient(&api.Config{Address: "127.0.0.1:8500", HttpClient: s.http}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		for _, seen := range append(s.others, s) {
			seen.http.CloseIdleConnections()
		}
		if t.Failed() {
			s.showLog()
		}
		s.log.Close()
	})
	return s
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

func (s *server) name() string   { return fmt.Sprint("s", s.n+1) }
func (s *server) config() string { return filepath.Join(s.dir, s.name()+".json") }

// run starts the process and waits until it has said that it listens for DNS, which it does
// last.
func (s *server) run() {
	s.t.Helper()
	line := append(s.in(), s.binary, "agent", "-config-file", s.config())
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Stderr = append(os.Environ(), s.env...), s.log
	listens, err := program.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	if err := listens(); err != nil {
		s.cmd = nil
		s.t.Fatalf("%s: %v", s.name(), err)
	}
}

// lives numbers the lives of the process.
func (s *server) lives() int { return int(s.ended.Load()) }

// kill ends the process without a warning.
func (s *server) kill() {
	if s.cmd != nil {
		s.ended.Add(1)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		return // it did not start again, which is an error already
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("%s: %v", s.name(), err)
	}
}

func (s *server) showLog() {
	if data, err := os.ReadFile(s.log.Name()); err == nil {
		s.t.Logf("log of %s:\n%s", s.name(), data[max(0, len(data)-6000):])
	}
}
