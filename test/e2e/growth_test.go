package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// A server that was alone becomes one of three by a restart with retry_join, then one of
// five; one of them loses its disk, and two leave. No key, lease or registration is lost on
// the way, and clients of the first server notice nothing after its restart.
func TestAServerAloneGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	var ports []int
	var at []string
	for range 5 {
		ports = append(ports, program.Port(t))
		at = append(at, local(ports[len(ports)-1]))
	}
	first := start(t, server(1, 1, ports[0], nil))
	first.ok("PUT", "/v1/agent/service/register", `{"Name": "web", "Port": 80}`)
	first.ok("PUT", "/v1/skerry/owner/job", `{"Address": "10.0.0.1", "TTL": "5m", "Services": [{"ID": "j", "Name": "job", "Port": 9}]}`)
	keys := func(a *agent, want string) {
		t.Helper()
		pair, _, err := a.client().KV().Get("kept", &api.QueryOptions{RequireConsistent: true})
		if err != nil || pair == nil || string(pair.Value) != want {
			t.Errorf("%s has the key %v, %v; want %s", a.http, pair, err, want)
		}
	}
	if _, err := first.client().KV().Put(&api.KVPair{Key: "kept", Value: []byte("alone")}, nil); err != nil {
		t.Fatal(err)
	}
	first.stop()
	first.args = []string{"-retry-join", at[1], "-retry-join", at[2]}
	first.run()
	first.leads()
	w := workAt(t, "web", first)
	w.goesOn()
	all := []*agent{first}
	grow := func(n int, expect int) {
		t.Helper()
		for len(all) < n {
			i := len(all)
			all = append(all, start(t, server(i+1, expect, ports[i], at[:i])))
		}
		for _, a := range all {
			a.voters(n)
			a.finds("web", "web")
			a.finds("job", "j")
			keys(a, "alone")
		}
	}
	grow(3, 0)
	grow(5, 3) // a count that is left from the beginning has no effect
	wiped := all[1]
	wiped.kill()
	for _, folder := range []string{wiped.store(), filepath.Join(filepath.Dir(wiped.store()), "server")} {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	wiped.run()
	for _, a := range all {
		a.voters(5)
		keys(a, "alone")
	}
	for _, leaving := range []*agent{all[4], all[2]} {
		leaving.ok("PUT", "/v1/agent/leave", "")
		if err := leaving.cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		leaving.cmd = nil
	}
	all = []*agent{all[0], all[1], all[3]}
	for _, a := range all {
		a.voters(3)
		a.finds("web", "web")
		a.finds("job", "j")
		keys(a, "alone")
	}
	w.goesOn()
	w.end()
	// The majority is counted over three now: two of them are one.
	all[2].kill()
	if _, err := all[0].client().KV().Put(&api.KVPair{Key: "kept", Value: []byte("grown")}, nil); err != nil {
		t.Error(err)
	}
	keys(all[1], "grown")
}

// A read server has the whole catalog and store, takes registrations and keys, and never gets
// a vote. It answers when all others are dead.
func TestAReadServer(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 3)
	conf := server(4, 0, program.Port(t), at)
	conf["voting"] = false
	reader := start(t, conf)
	reader.leads()
	await(t, "it has no vote", func() error {
		c, err := all[0].client().Operator().RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		for _, s := range c.Servers {
			if s.Node == "s4" && !s.Voter {
				return nil
			}
		}
		return fmt.Errorf("%+v", c.Servers)
	})
	reader.ok("PUT", "/v1/agent/service/register", `{"Name": "web", "ID": "r", "Port": 80}`)
	reader.ok("PUT", "/v1/skerry/owner/job", `{"Address": "10.0.0.1", "TTL": "5m", "Services": [{"ID": "j", "Name": "job", "Port": 9}]}`)
	reader.ok("PUT", "/v1/kv/from/reader", "1")
	all[0].ok("PUT", "/v1/agent/service/register", `{"Name": "web", "ID": "w", "Port": 80}`)
	for _, a := range append([]*agent{reader}, all...) {
		a.finds("web", "r", "w")
		a.finds("job", "j")
		a.ok("GET", "/v1/kv/from/reader?consistent", "")
	}
	for _, a := range all {
		a.kill()
	}
	if got := reader.instances("web"); len(got) != 2 {
		t.Errorf("alone it shows %v", got)
	}
	reader.ok("GET", "/v1/kv/from/reader?stale", "")
	if r := reader.request("PUT", "/v1/kv/from/reader", "2"); r.status != http.StatusInternalServerError {
		t.Errorf("a key was written without a majority: %d %s", r.status, r.body)
	}
	for _, a := range all {
		a.run()
	}
	for _, a := range all {
		a.leads()
		a.finds("web", "r", "w")
	}
	reader.ok("PUT", "/v1/kv/from/reader", "3")
}

// Two servers that both were alone are two clusters: when they are told to join each other
// neither takes anything of the other, and both say so.
func TestTwoClustersRefuseEachOther(t *testing.T) {
	t.Parallel()
	var all []*agent
	var at []string
	for i := range 2 {
		port := program.Port(t)
		at = append(at, local(port))
		all = append(all, start(t, server(i+1, 1, port, nil)))
		all[i].leads()
	}
	for i, a := range all {
		a.ok("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name": "web", "ID": "w%d", "Port": 80}`, i))
		a.stop()
		a.args = []string{"-retry-join", at[1-i]}
		a.run()
	}
	for i, a := range all {
		await(t, "the other cluster is named", func() error {
			log, err := os.ReadFile(a.log.Name())
			if other := fmt.Sprintf("s%d-1", 2-i); err == nil && !(strings.Contains(string(log), "another cluster") && strings.Contains(string(log), other)) {
				err = fmt.Errorf("the log of %s has nothing of %s", a.http, other)
			}
			return err
		})
		a.leads()
		a.finds("web", fmt.Sprint("w", i))
	}
}
