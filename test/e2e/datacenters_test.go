package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/test/program"
)

// datacenter starts a datacenter of n servers, which know some servers of others. Their node names are those of other
// datacenters too.
func datacenter(t *testing.T, name string, n int, wan []string, more map[string]any) (all []*agent, at []string) {
	t.Helper()
	config := map[string]any{"datacenter": name, "retry_join_wan": wan}
	maps.Copy(config, more)
	if n > 1 {
		return serversWith(t, n, config)
	}
	port := program.Port(t)
	config["ports"] = map[string]any{"server": port}
	return []*agent{start(t, config)}, []string{local(port)}
}

// reaches waits until a server names these datacenters, in their order.
func (a *agent) reaches(names ...string) {
	a.t.Helper()
	client := a.client()
	await(a.t, "the datacenters "+strings.Join(names, " "), func() error {
		got, err := client.Catalog().Datacenters()
		if err == nil && !slices.Equal(got, names) {
			err = fmt.Errorf("got %v, want %v", got, names)
		}
		return err
	})
}

// findsIn waits until instances of a service are found in a datacenter, by HTTP and DNS.
func (a *agent) findsIn(dc, service string, ids ...string) {
	a.t.Helper()
	client := a.client()
	await(a.t, fmt.Sprintf("%v of %s in %s", ids, service, dc), func() error {
		list, _, err := client.Health().Service(service, "", true, &api.QueryOptions{Datacenter: dc})
		if err != nil {
			return err
		}
		var got []string
		for _, e := range list {
			got = append(got, e.Service.ID)
			if e.Node.Datacenter != dc {
				return fmt.Errorf("%s is in %q", e.Service.ID, e.Node.Datacenter)
			}
		}
		if slices.Sort(got); !slices.Equal(got, ids) {
			return fmt.Errorf("HTTP: got %v", got)
		}
		m, err := a.resolve(service+".service."+dc+".consul.", dns.TypeSRV)
		if err == nil && len(m.Answer) != len(ids) {
			err = fmt.Errorf("DNS: %d answers, %s", len(m.Answer), dns.RcodeToString[m.Rcode])
		}
		return err
	})
}

// Two datacenters know each other from one address that one server of one of them was given.
func TestDatacentersFindEachOther(t *testing.T) {
	t.Parallel()
	two, at := datacenter(t, "dc2", 3, nil, nil)
	one, _ := datacenter(t, "dc1", 1, at[:1], nil)
	one[0].reaches("dc1", "dc2")
	for _, a := range two {
		a.reaches("dc2", "dc1")
	}
	one[0].client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 80})
	two[2].findsIn("dc1", "web", "web-1")

	// A third one is given a server of the second, and all know of it.
	three, _ := datacenter(t, "dc3", 1, at[1:2], nil)
	await(t, "dc3 knows both", func() error {
		got, err := three[0].client().Catalog().Datacenters()
		if err == nil && (len(got) != 3 || got[0] != "dc3") {
			err = fmt.Errorf("got %v", got)
		}
		return err
	})
	one[0].findsIn("dc3", "consul", "consul")
	three[0].findsIn("dc1", "web", "web-1")
}

// A prepared query takes the instances of another datacenter while its own has none, and comes back.
func TestAPreparedQueryFailsOver(t *testing.T) {
	t.Parallel()
	two, at := datacenter(t, "dc2", 1, nil, nil)
	one, _ := datacenter(t, "dc1", 1, at, nil)
	one[0].reaches("dc1", "dc2")
	client := one[0].client()
	for name, f := range map[string]string{
		"nearest": `{"NearestN":2}`, "named": `{"Datacenters":["dc9","dc2"]}`, "targets": `{"Targets":[{"Datacenter":"dc9"},{"Datacenter":"dc2"}]}`,
	} {
		body := fmt.Sprintf(`{"Name":%q,"Service":{"Service":"web","OnlyPassing":true,"Failover":%s}}`, name, f)
		if r := request(t, http.DefaultClient, "POST", "http://"+one[0].http+"/v1/query", body); r.status != 200 {
			t.Fatalf("%s: %d %s", name, r.status, r.body)
		}
	}
	executes := func(datacenter string, failovers int, ids ...string) {
		t.Helper()
		for _, name := range []string{"nearest", "named", "targets"} {
			await(t, fmt.Sprintf("the query %s in %s", name, datacenter), func() error {
				r, _, err := client.PreparedQuery().Execute(name, nil)
				if err != nil {
					return err
				}
				var got []string
				for _, e := range r.Nodes {
					got = append(got, e.Service.ID)
				}
				if slices.Sort(got); r.Datacenter != datacenter || r.Failovers != failovers || !slices.Equal(got, ids) {
					return fmt.Errorf("%s after %d: %v", r.Datacenter, r.Failovers, got)
				}
				m, err := one[0].resolve(name+".query.consul.", dns.TypeSRV)
				if err == nil && len(m.Answer) != len(ids) {
					err = fmt.Errorf("DNS: %v", m)
				}
				return err
			})
		}
	}
	check := &api.AgentServiceCheck{CheckID: "ttl", TTL: "10m", Status: api.HealthPassing}
	two[0].client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-2", Port: 80})
	executes("dc2", 1, "web-2")
	client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 80, Check: check})
	executes("dc1", 0, "web-1")
	client.Agent().UpdateTTL("ttl", "", api.HealthCritical)
	executes("dc2", 1, "web-2")
	client.Agent().UpdateTTL("ttl", "", api.HealthPassing)
	executes("dc1", 0, "web-1")
	client.Agent().ServiceDeregister("web-1")
	two[0].client().Agent().ServiceDeregister("web-2")
	executes("dc2", 1)
}

// What a client can ask of another datacenter, at a server and at an agent.
func TestRequestsForAnotherDatacenter(t *testing.T) {
	t.Parallel()
	two, at := datacenter(t, "dc2", 1, nil, nil)
	one, joins := datacenter(t, "dc1", 3, at, nil)
	agent := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": joins, "datacenter": "dc1"})
	agent.attached()
	two[0].client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-2", Port: 80, Address: "10.1.2.3"})
	for _, a := range append(one, agent) {
		a.reaches("dc1", "dc2")
		a.findsIn("dc2", "web", "web-2")
		client := a.client()
		far := &api.QueryOptions{Datacenter: "dc2"}
		if _, err := client.KV().Put(&api.KVPair{Key: "k", Value: []byte(a.http)}, &api.WriteOptions{Datacenter: "dc2"}); err != nil {
			t.Fatal(err)
		}
		if kv, _, err := client.KV().Get("k", far); err != nil || kv == nil || string(kv.Value) != a.http {
			t.Errorf("the key in dc2: %v, %v", kv, err)
		}
		if kv, _, err := client.KV().Get("k", nil); err != nil || kv != nil {
			t.Errorf("the key in dc1: %v, %v", kv, err)
		}
		if nodes, _, err := client.Catalog().Nodes(far); err != nil || len(nodes) != 1 || nodes[0].Datacenter != "dc2" {
			t.Errorf("nodes: %v, %v", nodes, err)
		}
		if leader, err := client.Status().LeaderWithQueryOptions(far); err != nil || leader != at[0] {
			t.Errorf("the leader of dc2: %q, %v", leader, err)
		}
		for _, path := range []string{"/v1/health/service/web", "/v1/kv/k", "/v1/catalog/nodes"} {
			if r := request(t, http.DefaultClient, "GET", "http://"+a.http+path+"?dc=dc9", ""); r.status != 500 || !strings.Contains(r.body, "No path to datacenter") {
				t.Errorf("%s of an unknown datacenter: %d %s", path, r.status, r.body)
			}
		}
		if m, err := a.resolve("web.service.dc9.consul.", dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
			t.Errorf("DNS of an unknown datacenter: %v, %v", m, err)
		}
		if m, err := a.resolve("n1.node.dc2.consul.", dns.TypeA); err != nil || len(m.Answer) != 1 {
			t.Errorf("DNS of a node in dc2: %v, %v", m, err)
		}
	}

	// A waiting query is answered by the change, at whatever process of dc1 it waits.
	woken := make(chan string, 2)
	for _, a := range []*struct {
		name string
		c    *api.Client
	}{{"server", one[0].client()}, {"agent", agent.client()}} {
		_, meta, err := a.c.Health().Service("web", "", true, &api.QueryOptions{Datacenter: "dc2"})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			list, _, err := a.c.Health().Service("web", "", true, &api.QueryOptions{Datacenter: "dc2", WaitIndex: meta.LastIndex, WaitTime: time.Minute})
			woken <- fmt.Sprint(a.name, " ", len(list), " ", err)
		}()
	}
	two[0].client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-3", Port: 81})
	for range 2 {
		select {
		case got := <-woken:
			if !strings.HasSuffix(got, " 2 <nil>") {
				t.Error(got)
			}
		case <-time.After(patience):
			t.Fatal("a query waits on after the change")
		}
	}

	// The datacenter is gone: what was followed stays, and is marked.
	two[0].kill()
	for _, a := range append(one, agent) {
		await(t, "the last instances are marked as old", func() error {
			r, err := tryRequest(http.DefaultClient, "GET", "http://"+a.http+"/v1/health/service/web?dc=dc2&passing", "")
			if err == nil && (r.status != 200 || !strings.Contains(r.body, "web-3") || r.header.Get("X-Skerry-Stale") == "") {
				err = fmt.Errorf("%d %s %v", r.status, r.body, r.header)
			}
			return err
		})
		a.finds("consul", "consul", "consul", "consul")
	}
	two[0].run()
	for _, a := range append(one, agent) {
		a.findsIn("dc2", "web", "web-2", "web-3")
	}
}
