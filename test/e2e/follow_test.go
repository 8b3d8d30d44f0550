package e2e

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// The documented clients follow services at an agent, also while all servers are dead, and go on after the agent
// started again.
func TestClientsOfTheFollowStream(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 3)
	a := joined(t, "web1", at)
	a.register(`{"ID": "web-1", "Name": "web", "Port": 80, "Address": "10.0.0.1"}`)
	a.follows("web", 1)
	program.Need(t, "python3")
	built := program.Build(t, ".", "./examples/follow")
	for name, command := range map[string][]string{"Go": {built}, "Python": {"python3", filepath.Join("..", "..", "examples", "follow", "follow.py")}} {
		t.Run(name, func(t *testing.T) {
			lines := output(t, append(command, "http://"+a.http, "web", "db"))
			lines.expect("web 1 ", "10.0.0.1", "80")
			a.register(`{"ID": "web-2", "Name": "web", "Port": 81, "Address": "10.0.0.2"}`)
			lines.expect("web 2 ", "10.0.0.2", "81")
			a.ok("PUT", "/v1/agent/service/deregister/web-2", "")
			lines.expect("web 1 ", "10.0.0.1")
			a.stop()
			a.run()
			a.attached()
			a.register(`{"ID": "web-2", "Name": "web", "Port": 82, "Address": "10.0.0.2"}`)
			lines.expect("web 2 ", "82")
			a.ok("PUT", "/v1/agent/service/deregister/web-2", "")
			lines.expect("web 1 ", "10.0.0.1")
		})
	}
	for _, s := range servers {
		s.kill()
	}
	lines := output(t, []string{built, "http://" + a.http, "web", "db"})
	lines.expect("web 1 ", "10.0.0.1", "80")
	a.register(`{"ID": "web-3", "Name": "web", "Port": 83, "Address": "10.0.0.3"}`)
	lines.expect("web 2 ", "10.0.0.3", "83")
}

// printed is the lines that a program prints.
type printed struct {
	t     *testing.T
	lines chan string
}

func output(t *testing.T, command []string) *printed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	out, in := io.Pipe()
	cmd.Stdout = in
	launch(t, cmd)
	p := &printed{t, make(chan string, 1000)}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// expect waits for a line that begins so and contains the words.
func (p *printed) expect(begins string, words ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var last []string
	for {
		select {
		case line := <-p.lines:
			last = append(last, line)
			ok := strings.HasPrefix(line, begins)
			for _, w := range words {
				ok = ok && strings.Contains(line, w)
			}
			if ok {
				return
			}
		case <-ctx.Done():
			p.t.Fatalf("no line %q with %q in %q", begins, words, last)
		}
	}
}
