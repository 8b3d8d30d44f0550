package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// Two of three servers are lost for good. The third goes on alone with all keys once an
// operator says so, and two new ones join it.
func TestTheSurvivorIsRecovered(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("secure=%v", secure), func(t *testing.T) {
			t.Parallel()
			recovers(t, secure)
		})
	}
}

// recovers does so with servers that show each other certificates, or do not.
func recovers(t *testing.T, secure bool) {
	data, token := filepath.Join(t.TempDir(), "data"), ""
	if secure {
		token = firstToken(t, data, 5)
	}
	ports := make([]int, 3)
	var at []string
	for i := range ports {
		ports[i] = program.Port(t)
		at = append(at, local(ports[i]))
	}
	configured := func(n, expect, port int) map[string]any {
		c := server(n, expect, port, at)
		c["autopilot"] = map[string]any{"server_stabilization_time": "1h"}
		if secure {
			c["join_token_file"] = token
			if n == 1 {
				c["data_dir"] = data
			}
		}
		return c
	}
	var all []*agent
	for i, port := range ports {
		all = append(all, start(t, configured(i+1, 3, port)))
	}
	survivor := all[0]
	for _, a := range all {
		a.leads()
	}
	// The new servers get votes in time only if this is there after the recovery.
	survivor.does("operator", "autopilot", "set-config", "-server-stabilization-time=1s")
	for i := range 30 {
		if _, err := all[i%3].client().KV().Put(&api.KVPair{Key: fmt.Sprintf("k/%02d", i), Value: []byte("v")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	survivor.hasKeys(30)
	for _, a := range all[1:] {
		a.kill()
	}
	if out, err := survivor.recover("s1\n"); err == nil || !strings.Contains(out, "stop the agent first") {
		t.Errorf("recovered while the agent runs: %v\n%s", err, out)
	}
	survivor.kill()
	if out, err := survivor.recover("s2\n"); err == nil || !strings.Contains(out, "nothing is changed") {
		t.Errorf("recovered with another name: %v\n%s", err, out)
	}
	out, err := survivor.recover("s1\n")
	if err != nil || !strings.Contains(out, "s1 is the only server that decides now") {
		t.Fatalf("recover: %v\n%s", err, out)
	}
	survivor.run()
	survivor.hasKeys(30)
	survivor.voters(1)
	if _, err := survivor.client().KV().Put(&api.KVPair{Key: "k/alone"}, nil); err != nil {
		t.Fatal(err)
	}
	now := []*agent{survivor}
	for n := 4; n <= 5; n++ {
		now = append(now, start(t, configured(n, 3, program.Port(t))))
	}
	for _, a := range now {
		a.voters(3)
		a.hasKeys(31)
		a.finds("consul", "consul", "consul", "consul")
	}
}

// recover runs the command of that name on a server's folder, with an answer to its question.
func (a *agent) recover(answer string) (out string, err error) {
	cmd := exec.Command(program.Skerry(a.t), "operator", "quorum", "recover", "-data-dir", a.configured().DataDir)
	cmd.Stdin = strings.NewReader(answer)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// hasKeys waits until a server has so many keys below k/.
func (a *agent) hasKeys(n int) {
	a.t.Helper()
	client := a.client()
	await(a.t, fmt.Sprint(n, " keys are there"), func() error {
		keys, _, err := client.KV().Keys("k/", "", &api.QueryOptions{RequireConsistent: true})
		if err == nil && len(keys) != n {
			err = fmt.Errorf("there are %d", len(keys))
		}
		return err
	})
}
