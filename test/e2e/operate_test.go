package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// command runs the command line against a server. Its exit code is 0 unless err says so.
func (a *agent) command(args ...string) (out string, err error) {
	a.t.Helper()
	cmd := exec.Command(program.Skerry(a.t), args...)
	cmd.Env = append(cmd.Environ(), "SKERRY_HTTP_ADDR=http://"+a.http)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// does is command for one that must not fail.
func (a *agent) does(args ...string) (out string) {
	a.t.Helper()
	out, err := a.command(args...)
	if err != nil {
		a.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// An operator reaches what only the leader does through any of three servers.
func TestThreeServersAreOperated(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	for _, a := range all {
		a.finds("consul", "consul", "consul", "consul")
	}
	ready(t, all)
	handsOver(t, all)
	releases(t, all)
	if out := all[2].does("catalog", "diff", "-server", all[0].http, "-server", all[1].http, "-wait", "1m"); !strings.HasPrefix(out, "equal: nodes: 3, services: 1, instances: 3, ") {
		t.Errorf("two servers are compared: %q", out)
	}
	configures(t, all)
}

// The leader has put the values of its configuration into the store. What is changed at one
// server counts at all.
func configures(t *testing.T, all []*agent) {
	for i, a := range all {
		if out := a.does("operator", "autopilot", "get-config"); !strings.Contains(out, "ServerStabilizationTime = 1s\n") {
			t.Errorf("the first values are\n%s", out)
		}
		conf, err := a.client().Operator().AutopilotGetConfiguration(nil)
		if err != nil || conf.ModifyIndex == 0 {
			t.Errorf("the first values are not in the store: %+v, %v", conf, err)
		}
		quorum := fmt.Sprint("-min-quorum=", i+1)
		if out := a.does("operator", "autopilot", "set-config", "-cleanup-dead-servers=false", quorum); out != "Configuration updated!\n" {
			t.Errorf("the answer is %q", out)
		}
		for _, b := range all {
			if out := b.does("operator", "autopilot", "get-config"); !strings.Contains(out, fmt.Sprintf("MinQuorum = %d\n", i+1)) || !strings.Contains(out, "CleanupDeadServers = false\n") {
				t.Errorf("after a change at %s, %s has\n%s", a.http, b.http, out)
			}
		}
		conf.ModifyIndex--
		if set, err := a.client().Operator().AutopilotCASConfiguration(conf, nil); err != nil || set {
			t.Errorf("a change of an earlier index: %v, %v", set, err)
		}
	}
}

func handsOver(t *testing.T, all []*agent) {
	leader := all[0].leads()
	conf, err := all[0].client().Operator().RaftGetConfiguration(nil)
	if err != nil {
		t.Fatal(err)
	}
	var others []*api.RaftServer
	for _, s := range conf.Servers {
		if s.Address != leader {
			others = append(others, s)
		}
	}
	if len(others) != 2 {
		t.Fatalf("%d servers do not lead", len(others))
	}
	// Each server is asked: at least two of them do not lead then. On a busy machine another
	// election may come between.
	for i, a := range all {
		to := others[i%2]
		await(t, "another server leads at once", func() error {
			out, err := a.command("operator", "raft", "transfer-leader", "-id="+to.ID)
			if strings.Contains(out, "leads already") { // the try before came through late
				return nil
			}
			if err != nil || out != "Success\n" {
				return fmt.Errorf("%v: %s", err, out)
			}
			if now := a.leads(); now != to.Address {
				return fmt.Errorf("after the answer %s leads, not %s", now, to.Address)
			}
			return nil
		})
		for _, b := range all {
			await(t, "all know the new leader", func() error {
				if now := b.leads(); now != to.Address {
					return fmt.Errorf("%s leads", now)
				}
				return nil
			})
		}
		await(t, "the leader is not asked to lead", func() error {
			out, err := a.command("operator", "raft", "transfer-leader", "-id="+to.ID)
			if err == nil || !strings.Contains(out, "leads already") {
				return fmt.Errorf("%v: %s", err, out)
			}
			return nil
		})
	}
	await(t, "any other server leads", func() error {
		before := all[0].leads()
		if out, err := all[0].command("operator", "raft", "transfer-leader"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if now := all[0].leads(); now == before {
			return fmt.Errorf("%s leads still", now)
		}
		return nil
	})
}

// All servers are ready soon.
func ready(t *testing.T, all []*agent) {
	for _, a := range all {
		a.ready(http.StatusOK, "true")
		if out := a.does("info"); !strings.Contains(out, "state = ready") {
			t.Errorf("%s says\n%s", a.http, out)
		}
	}
}

// ready waits for an answer of status/ready.
func (a *agent) ready(status int, contains string) {
	a.t.Helper()
	await(a.t, fmt.Sprint("status/ready is ", status), func() error {
		r, err := tryRequest(http.DefaultClient, "GET", "http://"+a.http+"/v1/status/ready", "")
		if err == nil && (r.status != status || !strings.Contains(r.body, contains)) {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
}

// Two services fall silent at their home. Both are held everywhere, until another server is
// asked to give up one of them.
func releases(t *testing.T, all []*agent) {
	both := []string{"job 4 4", "task 4 4"}
	awaitFor(t, 4*patience, "the guard holds both services", func() error {
		// On a busy machine some fall silent long before the others: then all begin anew.
		for _, service := range []string{"job", "task"} {
			for i := range 4 {
				all[0].ok("PUT", fmt.Sprintf("/v1/skerry/owner/%s-%d", service, i),
					fmt.Sprintf(`{"Address": "10.0.0.%d", "TTL": "2s", "Services": [{"ID": "%s%d", "Name": "%s"}]}`, i, service, i, service))
			}
		}
		var got []string
		for began := time.Now(); time.Since(began) < 4*time.Second && !slices.Equal(got, both); time.Sleep(100 * time.Millisecond) {
			got = all[0].guards()
		}
		if !slices.Equal(got, both) {
			return fmt.Errorf("the guard holds %q", got)
		}
		return nil
	})
	for _, a := range all {
		a.guard(both...)
	}
	if out := all[1].does("guard", "release", "job"); !strings.Contains(out, "Owners released: 4\n") {
		t.Errorf("the answer is %q", out)
	}
	if got := all[1].instances("job"); len(got) > 0 {
		t.Errorf("after the answer there are %v", got)
	}
	for _, a := range all {
		a.finds("job")
		a.guard("task 4 4")
		a.finds("task", "task0", "task1", "task2", "task3")
	}
	all[2].does("guard", "release", "-all")
	for _, a := range all {
		a.finds("task")
		a.guard()
	}
}

// guards returns how much of each service the guard holds: its name, the instances that are
// held, all instances.
func (a *agent) guards() (out []string) {
	a.t.Helper()
	var answer struct {
		Services []struct {
			Service         string
			Held, Instances int
		}
	}
	if err := json.Unmarshal([]byte(a.does("guard", "list", "-format", "json")), &answer); err != nil {
		a.t.Fatal(err)
	}
	for _, s := range answer.Services {
		out = append(out, fmt.Sprint(s.Service, " ", s.Held, " ", s.Instances))
	}
	return out
}

// guard waits until the guard holds just so much.
func (a *agent) guard(want ...string) {
	a.t.Helper()
	await(a.t, fmt.Sprint("the guard holds ", want), func() error {
		if got := a.guards(); !slices.Equal(got, want) {
			return fmt.Errorf("it holds %q", got)
		}
		return nil
	})
}
