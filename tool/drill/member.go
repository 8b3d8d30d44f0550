package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/process"
	"github.com/skerryhq/skerry/tool/sandbox"
)

// member is a server or an agent.
type member struct {
	name   string
	dir    string
	config map[string]any
	port   int // where it takes servers and agents
	ports  []int
	base   string // of its URLs
	http   *http.Client

	cmd     *exec.Cmd
	changes atomic.Int64 // it is away while this is odd
}

// newMember finds ports for a process. It does not start it.
func newMember(folder, name string) (*member, error) {
	m := &member{name: name, dir: filepath.Join(folder, name), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	m.changes.Store(1)
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	for range 4 {
		port, err := sandbox.FreePort()
		if err != nil {
			return nil, err
		}
		m.ports = append(m.ports, port)
	}
	m.port = m.ports[1]
	m.config = map[string]any{
		"node_name": name, "bind_addr": "127.0.0.1", "data_dir": m.data(), "log_level": "info",
		"ports": map[string]any{"http": m.ports[0], "server": m.port, "serf_lan": m.ports[2], "serf_wan": m.ports[3], "dns": -1, "grpc": -1, "grpc_tls": -1},
	}
	m.base = "http://" + at(m.ports[0])
	return m, nil
}

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (m *member) data() string { return filepath.Join(m.dir, "data") }

// run starts the process, which ends with ctx, and waits until it answers.
func (m *member) run(ctx context.Context, binary string) error {
	text, err := json.MarshalIndent(m.config, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(m.dir, "config.json")
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.CommandContext(ctx, binary, "agent", "-config-file", file)
	cmd.Stdout, cmd.Stderr = log, log
	process.Group(cmd, "") // keys of the terminal are for the drill alone
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd = cmd
	err = sandbox.Await(ctx, func() error {
		_, err := m.ask(ctx, http.MethodGet, "/v1/agent/self", nil, nil)
		return err
	})
	m.changes.Add(1)
	return err
}

// kill ends the process without a warning. That it has ended is no error.
func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	m.away()
	m.cmd.Process.Kill()
	m.cmd.Wait()
	m.cmd = nil
	m.http.CloseIdleConnections()
}

// end lets the process end in order, and waits for that.
func (m *member) end() error {
	m.away()
	if err := interrupt(m.cmd.Process); err != nil {
		return fmt.Errorf("ending %s: %w", m.name, err)
	}
	err := m.cmd.Wait()
	m.cmd = nil
	m.http.CloseIdleConnections()
	if err != nil {
		err = fmt.Errorf("%s ended with %w", m.name, err)
	}
	return err
}

func (m *member) away() {
	if m.changes.Load()%2 == 0 {
		m.changes.Add(1)
	}
}

// errAway is the outcome of a call at a process that was away during a part of it.
var errAway = errors.New("the process is away")

// during makes a call at the process. A program on a host whose agent is gone is gone too, or
// asks again, so such a call is [errAway].
func (m *member) during(call func() error) error {
	before := m.changes.Load()
	if before%2 == 1 {
		return errAway
	}
	err := call()
	if m.changes.Load() != before {
		return errAway
	}
	return err
}

// callWithin bounds each call.
const callWithin = 15 * time.Second

// ask makes a request with a body of JSON, reads a good answer into out, unless that is nil, and
// returns its headers.
func (m *member) ask(ctx context.Context, method, path string, body, out any) (http.Header, error) {
	ctx, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	req, err := request(ctx, method, m.base+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	return resp.Header, answer(resp, out)
}
