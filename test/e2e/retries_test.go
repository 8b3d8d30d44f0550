package e2e

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// A client that retries loses no call to providers that are killed, nor to the server of its agent, in a cluster with join tokens.
func TestRetriesInASecuredCluster(t *testing.T) {
	s := startSecured(t, 3, nil)
	token, _ := s.token(t, 0, `{"Kind": "agent", "Uses": 2}`)
	providers, callers := s.agent(t, "providers", token), s.agent(t, "callers", token)
	providers.attached()
	callers.attached()
	env := []string{"SKERRY_CACHE_DIR=" + t.TempDir()}
	server, caller := program.Build(t, ".", "./examples/timeservice/server"), program.Build(t, ".", "./examples/timeservice/client")
	var all []*exec.Cmd
	for range 3 {
		cmd, output := sample(t, env, server, "-registry", "skerry://"+providers.http, "-listen", local(program.Port(t)))
		says(t, output, "registered=true")
		all = append(all, cmd)
	}
	calls, output := sample(t, env, caller, "-registry", "skerry://"+callers.http, "-rate", "200")
	says(t, output, "3 instances, live")
	all[0].Process.Kill()
	says(t, output, "2 instances, live")
	_, home := callers.homes()
	s.all[home].kill()
	callers.attached()
	all[1].Process.Kill() // the client keeps it in its list for longer, since half of the list is gone
	line := strings.Count(output(), "calls")
	await(t, "calls to the last provider", func() error {
		if strings.Count(output(), "calls") < line+3 {
			return errors.New("none yet")
		}
		return nil
	})
	calls.Process.Signal(os.Interrupt)
	says(t, output, "in all ")
	if !regexp.MustCompile(`in all \d{3,} calls, 0 failed`).MatchString(output()) {
		t.Errorf("the client: %s", output())
	}
}
