package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// servers starts servers that form a cluster. at has the addresses at which they join each
// other.
func servers(t *testing.T, n int) (all []*agent, at []string) {
	t.Helper()
	return serversWith(t, n, nil)
}

// serversWith is servers with more in the configuration of each.
func serversWith(t *testing.T, n int, more map[string]any) (all []*agent, at []string) {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ports[i] = program.Port(t)
		at = append(at, local(ports[i]))
	}
	for i, port := range ports {
		config := server(i+1, n, port, at)
		maps.Copy(config, more)
		all = append(all, start(t, config))
	}
	for _, a := range all {
		a.leads()
	}
	return all, at
}

// server is the configuration of a server among several.
func server(n, expect, port int, join []string) map[string]any {
	return map[string]any{
		"node_name": fmt.Sprint("s", n), "bootstrap_expect": expect, "retry_join": join, "ports": map[string]any{"server": port},
		"autopilot": map[string]any{"server_stabilization_time": "1s"},
	}
}

// voters waits until that many servers have a vote in the quorum store.
func (a *agent) voters(n int) {
	a.t.Helper()
	client := a.client()
	// etcd calls a cluster unhealthy for seconds after each member's start.
	awaitFor(a.t, 4*patience, fmt.Sprintf("there are %d voters", n), func() error {
		c, err := client.Operator().RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		got := 0
		for _, s := range c.Servers {
			if s.Voter {
				got++
			}
		}
		if got != n || len(c.Servers) != n {
			return fmt.Errorf("%d servers, %d with a vote", len(c.Servers), got)
		}
		return nil
	})
}

// leads waits until a server knows the leader of the quorum store, and returns its address.
func (a *agent) leads() (leader string) {
	a.t.Helper()
	await(a.t, "a leader is known", func() error {
		r, err := tryRequest(http.DefaultClient, "GET", "http://"+a.http+"/v1/status/leader", "")
		if leader = strings.Trim(r.body, "\"\n"); err == nil && (leader == "" || r.status != http.StatusOK) {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
	return leader
}

// finds waits until a server shows these instances of a service, by id.
func (a *agent) finds(service string, ids ...string) {
	a.t.Helper()
	want := make([]string, len(ids))
	for i, id := range ids {
		want[i] = id + " passing"
	}
	slices.Sort(want) // they are answered by node
	await(a.t, "instances of "+service, func() error {
		if got := slices.Sorted(slices.Values(a.instances(service))); !slices.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// Three servers hold one catalog and one store: each takes registrations and keys, all
// find them, by HTTP and DNS.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	program.Need(t, "dig")
	all, _ := servers(t, 3)
	for i, a := range all {
		id := strconv.Itoa(i)
		if err := a.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "w" + id, Name: "web", Port: 8000 + i}); err != nil {
			t.Fatal(err)
		}
		a.ok("PUT", "/v1/skerry/owner/job-"+id, `{"Address": "10.0.0.`+id+`", "TTL": "10s", "Services": [{"ID": "j`+id+`", "Name": "job", "Port": 9}]}`)
		if _, err := a.client().KV().Put(&api.KVPair{Key: "from/" + id, Value: []byte(id)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range all {
		a.finds("web", "w0", "w1", "w2")
		a.finds("job", "j0", "j1", "j2")
		a.finds("consul", "consul", "consul", "consul")
		pairs, _, err := a.client().KV().List("from/", &api.QueryOptions{RequireConsistent: true})
		if err != nil || len(pairs) != 3 {
			t.Errorf("%s has the keys %v, %v", a.http, pairs, err)
		}
		members, err := a.client().Agent().Members(false)
		if err != nil || len(members) != 3 {
			t.Errorf("%s knows the members %v, %v", a.http, members, err)
		}
		peers, err := a.client().Status().Peers()
		if err != nil || len(peers) != 3 {
			t.Errorf("%s knows the peers %v, %v", a.http, peers, err)
		}
		if answer := a.dig("web.service.consul SRV"); strings.Count(answer, "IN SRV") != 3 {
			t.Errorf("%s answers by DNS\n%s", a.dns, answer)
		}
	}
	// A withdrawal through another server than that of the put.
	all[1].ok("DELETE", "/v1/skerry/owner/job-0", "")
	for _, a := range all {
		a.finds("job", "j1", "j2")
	}
}

// The death of a server costs no look-up and no write at the others. What it alone owned
// leaves; when it is back, with its disk, all show the same.
func TestAServerOfThreeIsKilled(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 3)
	if err := all[1].client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "kept", Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	leader := all[0].leads()
	dead := slices.Index(at, leader)
	if dead < 0 {
		t.Fatalf("the leader is %s, and the servers are %v", leader, at)
	}
	if err := all[dead].client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "gone", Name: "web", Port: 81}); err != nil {
		t.Fatal(err)
	}
	alive := slices.Delete(slices.Clone(all), dead, dead+1)
	for _, a := range alive {
		if dead == 1 {
			a.finds("web", "gone", "kept")
		}
	}
	w := workAt(t, "consul", alive...)
	w.goesOn()
	all[dead].kill()
	w.goesOn()
	for _, a := range alive {
		want := []string{"kept"}
		if dead == 1 {
			want = nil
		}
		a.finds("web", want...)
	}
	w.end()
	all[dead].run()
	for _, a := range all {
		a.leads()
		a.finds("web", "gone", "kept")
		pair, _, err := a.client().KV().Get("count/0", &api.QueryOptions{RequireConsistent: true})
		if err != nil || pair == nil {
			t.Errorf("%s has the counter %v, %v", a.http, pair, err)
		}
	}
}

// All servers are killed and start again: what was acknowledged is there, and no answer lacks
// any of it. Each server has the leases on its disk that were put there alone, and the rest
// comes from the others.
func TestThreeServersStartAgain(t *testing.T) {
	t.Parallel()
	owners, each := 30, 10
	if n, err := strconv.Atoi(os.Getenv("SKERRY_OWNERS")); err == nil {
		owners, each = n, 100
	}
	all, _ := servers(t, 3)
	for i := range owners {
		var set []string
		for k := range each {
			set = append(set, fmt.Sprintf(`{"ID": "j%d", "Name": "job", "Port": %d}`, k, 9000+k))
		}
		all[i%3].ok("PUT", fmt.Sprintf("/v1/skerry/owner/job-%02d", i), fmt.Sprintf(`{"Address": "10.0.0.%d", "TTL": "60s", "Services": [%s]}`, i%250, strings.Join(set, ",")))
	}
	if _, err := all[0].client().KV().Put(&api.KVPair{Key: "a", Value: []byte("1")}, nil); err != nil {
		t.Fatal(err)
	}
	shows := func(a *agent) error {
		found, _, err := a.client().Health().Service("job", "", true, nil)
		if err == nil && len(found) != owners*each {
			err = fmt.Errorf("%s shows %d instances of %d", a.http, len(found), owners*each)
		}
		return err
	}
	for _, a := range all {
		await(t, "all is everywhere", func() error { return shows(a) })
	}
	for _, a := range all {
		a.kill()
	}
	began := time.Now()
	var watchers sync.WaitGroup
	for _, a := range all {
		watchers.Go(func() { // it looks as soon as the server listens
			for n := range 20 {
				err := errors.New("connection refused")
				for end := time.Now().Add(4 * patience); err != nil && strings.Contains(err.Error(), "connection refused") && time.Now().Before(end); {
					err = shows(a)
				}
				if err != nil {
					t.Errorf("after the start: %v", err)
					return
				}
				if n == 0 {
					t.Logf("%s answers with all %v after the start", a.http, time.Since(began).Round(time.Millisecond))
				}
			}
		})
		watchers.Go(a.run)
	}
	watchers.Wait()
	for _, a := range all {
		a.kill()
	}
	all[0].run()
	all[0].ready(http.StatusServiceUnavailable, "1 of 3")
	for _, a := range all[1:] {
		a.run()
	}
	for _, a := range all {
		a.ready(http.StatusOK, "true")
		a.leads()
		pair, _, err := a.client().KV().Get("a", nil)
		if err != nil || pair == nil || string(pair.Value) != "1" {
			t.Errorf("%s has %v, %v", a.http, pair, err)
		}
	}
}

// A server that is gone for good is removed by an operator: it has no vote any more, and
// its services leave at once.
func TestAServerIsRemoved(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	for _, a := range all {
		a.finds("consul", "consul", "consul", "consul")
	}
	out, err := exec.Command(program.Skerry(t), "force-leave", "-http-addr=http://"+all[0].http, "s2").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all[0].voters(3) // it is up
	all[2].kill()
	await(t, "the server is seen to be down", func() error {
		members, err := all[0].client().Agent().Members(false)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Name == "s3" && m.Status == 1 {
				return errors.New("it is alive")
			}
		}
		return nil
	})
	if out, err := exec.Command(program.Skerry(t), "force-leave", "-http-addr=http://"+all[1].http, "s3").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, a := range all[:2] {
		a.voters(2)
		a.finds("consul", "consul", "consul")
	}
	if out, err := exec.Command(program.Skerry(t), "force-leave", "-http-addr=http://"+all[1].http, "s3").CombinedOutput(); err == nil {
		t.Errorf("a server that is gone is removed again: %s", out)
	}
}

// A server that leaves in order is out of the store and of the catalog at once. It joins
// again when it is started.
func TestAServerLeaves(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	for _, a := range all {
		a.finds("consul", "consul", "consul", "consul")
	}
	leaving := all[0]
	leaving.ok("PUT", "/v1/agent/leave", "")
	if err := leaving.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	leaving.cmd = nil
	for _, a := range all[1:] {
		a.voters(2)
		a.finds("consul", "consul", "consul")
	}
	leaving.run()
	for _, a := range all {
		a.voters(3)
		a.finds("consul", "consul", "consul", "consul")
	}
}
