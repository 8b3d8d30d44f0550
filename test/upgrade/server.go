package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// patience bounds a start, an end, and a wait for the store.
const patience = 30 * time.Second

// Server is a running binary with a data folder.
type Server struct {
	Address string // of its HTTP API
	Token   string // "": access control is off
	cmd     *exec.Cmd
	log     *os.File
}

// Start runs a binary with the folder's data, on these ports, and
// returns when it listens.
func Start(binary, folder string, ports [5]int, acl bool) (*Server, error) {
	config := map[string]any{
		"node_name": "n1", "server": true, "bootstrap_expect": 1, "bind_addr": "127.0.0.1", "data_dir": filepath.Join(folder, "data"), "log_level": "info",
		"ports": map[string]any{
			"http": ports[0], "dns": ports[1], "server": ports[2], "serf_lan": ports[3], "serf_wan": ports[4], "grpc": -1, "grpc_tls": -1,
		},
	}
	if acl {
		config["acl"] = map[string]any{"enabled": true, "default_policy": "deny", "enable_token_persistence": true}
	}
	b, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "agent.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Server{Address: fmt.Sprintf("127.0.0.1:%d", ports[0]), log: log}
	s.cmd = exec.Command(binary, "agent", "-config-file", file)
	s.cmd.Stderr = log
	listens, err := sandbox.Start(s.cmd)
	if err != nil {
		return nil, err
	}
	if err := listens(); err != nil {
		return nil, fmt.Errorf("%w; it logged %s", err, s.Log())
	}
	return s, nil
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the server in order.
func (s *Server) Stop() error {
	err := s.cmd.Process.Signal(os.Interrupt)
	slow := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	defer slow.Stop()
	return errors.Join(err, s.cmd.Wait(), s.log.Close())
}

// Kill ends the server at once, if it runs.
func (s *Server) Kill() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

// Do makes a request and returns the body of a 200.
func (s *Server) Do(ctx context.Context, method, path, body string) (string, error) {
	return s.DoAs(ctx, s.Token, method, path, body)
}

// DoAs is Do with a token.
func (s *Server) DoAs(ctx context.Context, token, method, path, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if token != "" {
		r.Header.Set("X-Consul-Token", token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return string(b), err
}

// AwaitStore waits until the quorum store answers.
func (s *Server) AwaitStore(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		_, err := s.Do(ctx, "GET", "/v1/session/list", "")
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the store does not answer: %w", err)
		}
	}
}
