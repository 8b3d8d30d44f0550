package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// stage is the cluster of a drill.
type stage struct {
	ctx     context.Context
	o       Options
	drill   Drill
	began   time.Time
	servers []*member // those that belong to the cluster
	agents  []*member
	members []*member // all that were made
	token   string    // the file of the servers' join token
	load    *load
	result  *Result
}

const (
	servers = 3
	agents  = 2
)

// start starts the cluster as production does: servers that join by a token, and agents by another.
func (s *stage) start() error {
	for n := range servers {
		if _, err := s.newServer(fmt.Sprint("s", n+1), servers); err != nil {
			return err
		}
	}
	var err error
	if s.token, err = s.firstToken(); err != nil {
		return err
	}
	for _, m := range s.servers {
		m.config["retry_join"], m.config["join_token_file"] = s.joins(), s.token
	}
	if err := s.together(s.servers); err != nil {
		return err
	}
	token, err := s.agentToken()
	if err != nil {
		return err
	}
	for n := range agents {
		m, err := s.newMember(fmt.Sprint("a", n+1))
		if err != nil {
			return err
		}
		m.config["retry_join"], m.config["join_token_file"] = s.joins(), token
		s.agents = append(s.agents, m)
	}
	if err := s.together(s.agents); err != nil {
		return err
	}
	if err := s.await("the cluster is whole", time.Minute, s.whole); err != nil {
		return err
	}
	s.tell("three servers and two agents run in %s", s.o.Folder)
	return nil
}

func (s *stage) newMember(name string) (*member, error) {
	m, err := newMember(s.o.Folder, name)
	if err == nil {
		s.members = append(s.members, m)
	}
	return m, err
}

// newServer prepares a server of the cluster.
func (s *stage) newServer(name string, expect int) (*member, error) {
	m, err := s.newMember(name)
	if err != nil {
		return nil, err
	}
	m.config["server"], m.config["bootstrap_expect"] = true, expect
	// A drill is short: a new server has its vote after a second in place of ten.
	m.config["autopilot"] = map[string]any{"server_stabilization_time": "1s"}
	if s.drill.quota > 0 {
		m.config["quorum"] = map[string]any{"quota": s.drill.quota}
	}
	m.config["retry_join"], m.config["join_token_file"] = s.joins(), s.token
	s.servers = append(s.servers, m)
	return m, nil
}

func (s *stage) joins() (out []string) {
	for _, m := range s.servers {
		out = append(out, at(m.port))
	}
	return out
}

// firstToken makes the token of the servers, as an operator does on the first of them.
func (s *stage) firstToken() (file string, err error) {
	cmd := exec.CommandContext(s.ctx, s.o.Binary, "token", "create", "-server", "-uses", "10", "-data-dir", s.servers[0].data())
	secret, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("making the first join token: %w", err)
	}
	return s.keep("server-token", string(secret))
}

func (s *stage) agentToken() (file string, err error) {
	var made struct{ Secret string }
	err = s.await("a server makes a join token for agents", time.Minute, func() error {
		_, err := s.servers[0].ask(s.ctx, http.MethodPut, "/v1/skerry/join-token", map[string]any{"Kind": "agent", "Uses": agents}, &made)
		return err
	})
	if err != nil {
		return "", err
	}
	return s.keep("agent-token", made.Secret)
}

func (s *stage) keep(name, secret string) (file string, err error) {
	file = filepath.Join(s.o.Folder, name)
	return file, os.WriteFile(file, []byte(secret), 0o600)
}

// together runs processes at the same time.
func (s *stage) together(all []*member) error {
	ended := make(chan error, len(all))
	for _, m := range all {
		go func() {
			err := m.run(s.ctx, s.o.Binary)
			if err != nil {
				err = fmt.Errorf("starting %s: %w", m.name, err)
			}
			ended <- err
		}()
	}
	var errs []error
	for range all {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// close ends all processes.
func (s *stage) close() {
	for _, m := range s.members {
		m.kill()
		for _, p := range m.ports {
			sandbox.ReturnPort(p)
		}
	}
}

func (s *stage) tell(format string, args ...any) {
	s.o.Tell(time.Since(s.began), fmt.Sprintf(format, args...))
}

// rest waits; it returns early when the drill ends.
func (s *stage) rest(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// await waits until something is so. It gives up long after it was promised: that would be no
// broken promise of time, but something that never comes.
func (s *stage) await(what string, promised time.Duration, is func() error) error {
	ctx, stop := context.WithTimeout(s.ctx, max(time.Minute, 3*s.slack(promised)))
	defer stop()
	if err := sandbox.Await(ctx, is); err != nil {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// leader is the server that leads the quorum store.
func (s *stage) leader() (leader *member, err error) {
	err = s.await("the servers have a leader", time.Minute, func() error {
		var address string
		if _, err := s.servers[0].ask(s.ctx, http.MethodGet, "/v1/status/leader", nil, &address); err != nil {
			return err
		}
		for _, m := range s.servers {
			if address == at(m.port) {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("%q leads", address)
	})
	return leader, err
}

// whole returns the first thing that is other than in a cluster without a fault.
func (s *stage) whole() error {
	for _, m := range slices.Concat(s.servers, s.agents) {
		if _, err := m.ask(s.ctx, http.MethodGet, "/v1/status/ready", nil, nil); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if s.load != nil {
			if err := s.load.right(m); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	}
	for _, m := range s.servers {
		if _, err := m.ask(s.ctx, http.MethodPut, "/v1/kv/drill/whole/"+m.name, "", nil); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return s.voters()
}

func (s *stage) voters() error {
	var c struct {
		Servers []struct {
			Node  string
			Voter bool
		}
	}
	if _, err := s.servers[0].ask(s.ctx, http.MethodGet, "/v1/operator/raft/configuration", nil, &c); err != nil {
		return err
	}
	var names []string
	for _, one := range c.Servers {
		if one.Voter {
			names = append(names, one.Node)
		}
	}
	if len(names) != len(s.servers) {
		return fmt.Errorf("the servers with a vote are %s", strings.Join(names, ", "))
	}
	return nil
}

// settled waits until every process shows the last acknowledged state.
func (s *stage) settled() error {
	all := slices.Concat(s.servers, s.agents)
	err := s.await("all show the acknowledged state", 10*time.Second, func() error {
		for _, m := range all {
			if err := errors.Join(s.load.right(m), s.load.kept(m)); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		return nil
	})
	if err != nil && s.ctx.Err() == nil {
		s.result.Broken = append(s.result.Broken, err.Error())
		return nil
	}
	return err
}
