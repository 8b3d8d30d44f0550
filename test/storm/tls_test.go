package storm

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/skerryhq/skerry/test/program"
)

// secure lets the processes join by tokens, and speak over TLS, if STORM_TLS says so.
func (s *storm) secure(binary string) {
	s.t.Helper()
	if s.tls = os.Getenv("STORM_TLS") != ""; !s.tls {
		return
	}
	secret, err := exec.Command(binary, "token", "create", "-server", "-uses", "10000", "-ttl", "240h", "-data-dir", s.servers[0].data()).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	file := s.tokenFile(string(secret))
	for _, server := range s.servers {
		server.joinWith(file)
	}
}

func (s *storm) tokenFile(secret string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "join-token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// agentToken makes a token for an agent.
func (s *storm) agentToken() (file string) {
	s.t.Helper()
	var made struct{ Secret string }
	err := program.Await(comingUp, func() error {
		return s.servers[0].ask(s.ctx, "PUT", "/v1/skerry/join-token", map[string]any{"Kind": "agent", "TTL": "240h"}, &made)
	})
	if err != nil {
		s.t.Fatalf("there is no token for an agent: %v", err)
	}
	return s.tokenFile(made.Secret)
}

// joinWith gives a process a join token.
func (p *process) joinWith(file string) {
	p.token = file
	p.configure(p.keys)
}
