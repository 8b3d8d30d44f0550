package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/pki"
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

// What operators see of other datacenters, at a server and at an agent.
func TestDatacentersAsOperatorsSeeThem(t *testing.T) {
	t.Parallel()
	two, at := datacenter(t, "dc2", 1, nil, map[string]any{"node_name": "far.s"})
	one, joins := datacenter(t, "dc1", 3, at, nil)
	web := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": joins, "datacenter": "dc1"})
	web.attached()
	names := func(a *agent) string {
		members, err := a.asker().Agent().Members(true)
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, m := range members {
			out = append(out, fmt.Sprint(m.Name, " ", m.Tags["dc"], " ", m.Status))
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	for _, a := range []*agent{one[0], one[2], web, two[0]} {
		await(t, "the servers of both datacenters", func() error {
			if got, want := names(a), "far.s.dc2 dc2 1, s1.dc1 dc1 1, s2.dc1 dc1 1, s3.dc1 dc1 1"; got != want {
				return fmt.Errorf("got %s", got)
			}
			all, err := a.asker().Coordinate().Datacenters()
			if err != nil {
				return err
			}
			n := 0
			for _, dc := range all {
				n += len(dc.Coordinates)
			}
			if len(all) != 2 || n != 4 {
				return fmt.Errorf("%d datacenters with %d coordinates", len(all), n)
			}
			return nil
		})
		if out := a.does("rtt", "-wan", "s1.dc1", "far.s.dc2"); !strings.HasPrefix(out, "Estimated s1.dc1 <-> far.s.dc2 rtt: ") || !strings.HasSuffix(out, " ms (using WAN coordinates)\n") {
			t.Errorf("rtt -wan: %q", out)
		}
		if out := a.does("members", "-wan"); !strings.Contains(out, "far.s.dc2") || !strings.Contains(out, "dc2") {
			t.Errorf("members -wan: %s", out)
		}
	}
	await(t, "the round trip to an agent", func() error {
		out, err := one[0].command("rtt", "web1")
		if err == nil && !strings.HasPrefix(out, "Estimated web1 <-> s1 rtt: ") {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	if out, err := one[0].command("rtt", "nobody"); err == nil || !strings.Contains(out, `could not find a coordinate for node "nobody"`) {
		t.Errorf("the round trip to a node that is not there: %q, %v", out, err)
	}
	if out, err := one[0].command("rtt", "-wan", "s1"); err == nil || !strings.Contains(out, "<node name>.<datacenter>") {
		t.Errorf("a server without its datacenter: %q, %v", out, err)
	}
	if out := one[0].does("info"); !strings.Contains(out, "dc2: reached, round trip ") && !strings.Contains(out, "dc2 = reached, round trip ") {
		t.Errorf("info: %s", out)
	}
	if r := one[0].ok("GET", "/v1/status/ready", ""); !strings.Contains(r.body, `"Name":"dc2","Reached":true,"Distance":"`) {
		t.Errorf("status/ready: %s", r.body)
	}

	// A server that is down for good is forgotten.
	two[0].kill()
	await(t, "the server is down", func() error {
		if got := names(one[0]); !strings.Contains(got, "far.s.dc2 dc2 4") {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	one[0].does("force-leave", "-wan", "far.s.dc2")
	one[0].reaches("dc1")
	if out, err := one[0].command("force-leave", "-wan", "far.s.dc2"); err == nil || !strings.Contains(out, "No node found") {
		t.Errorf("a server that is forgotten: %q, %v", out, err)
	}
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
	web := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": joins, "datacenter": "dc1"})
	web.attached()
	two[0].client().Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-2", Port: 80, Address: "10.1.2.3"})
	for _, a := range append(one, web) {
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
		// A body may name the datacenter too.
		node := api.CatalogRegistration{Node: "outside", Address: "10.1.2.4", Datacenter: "dc2", Service: &api.AgentService{Service: "mail"}}
		if _, err := client.Catalog().Register(&node, nil); err != nil {
			t.Fatal(err)
		}
		for dc, want := range map[string]int{"dc1": 0, "dc2": 1} {
			if list, _, err := client.Catalog().Service("mail", "", &api.QueryOptions{Datacenter: dc}); err != nil || len(list) != want {
				t.Errorf("a node that was registered in dc2 by a body, in %s: %v, %v", dc, list, err)
			}
		}
		if _, err := client.Catalog().Deregister(&api.CatalogDeregistration{Node: "outside", Datacenter: "dc2"}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Catalog().Register(&node, &api.WriteOptions{Datacenter: "dc1"}); err != nil {
			t.Fatal(err)
		}
		if list, _, err := client.Catalog().Service("mail", "", &api.QueryOptions{Datacenter: "dc1"}); err != nil || len(list) > 0 {
			t.Errorf("a body counts more than ?dc=, as in Consul: %v, %v", list, err)
		}
		if _, err := client.Catalog().Deregister(&api.CatalogDeregistration{Node: "outside", Datacenter: "dc2"}, nil); err != nil {
			t.Fatal(err)
		}
		node.Datacenter = "dc9"
		if _, err := client.Catalog().Register(&node, nil); err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
			t.Errorf("a body for an unknown datacenter: %v", err)
		}
		for _, path := range []string{"/v1/health/service/web", "/v1/kv/k", "/v1/catalog/nodes"} {
			if r := request(t, http.DefaultClient, "GET", "http://"+a.http+path+"?dc=dc9", ""); r.status != 500 || !strings.Contains(r.body, "No path to datacenter") {
				t.Errorf("%s of an unknown datacenter: %d %s", path, r.status, r.body)
			}
		}
		if m, err := a.resolve("web.service.dc9.consul.", dns.TypeA); err != nil || m.Rcode != dns.RcodeNameError {
			t.Errorf("DNS of an unknown datacenter: %v, %v", m, err)
		}
		for name, target := range map[string]string{"web": "0a010203.addr.dc2.consul.", "consul": "n1.node.dc2.consul."} {
			m, err := a.resolve(name+".service.dc2.consul.", dns.TypeSRV)
			if err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.SRV).Target != target || len(m.Extra) == 0 || m.Extra[0].Header().Name != target {
				t.Errorf("DNS of %s in dc2: %v, %v, want the target %s", name, m, err, target)
			}
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
	}{{"server", one[0].client()}, {"agent", web.client()}} {
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
	old := func(a *agent, id string) {
		t.Helper()
		await(t, "the last instances are marked as old", func() error {
			r, err := tryRequest(http.DefaultClient, "GET", "http://"+a.http+"/v1/health/service/web?dc=dc2&passing", "")
			if err == nil && (r.status != 200 || !strings.Contains(r.body, id) || r.header.Get("X-Skerry-Stale") == "") {
				err = fmt.Errorf("%d %s %v", r.status, r.body, r.header)
			}
			return err
		})
	}
	for _, a := range append(one, web) {
		old(a, "web-3")
		a.finds("consul", "consul", "consul", "consul")
	}
	// A server that starts meanwhile has them from its disk, where they may be 5 s older.
	one[0].kill()
	one[0].run()
	one[0].leads()
	old(one[0], "web-2")
	two[0].run()
	for _, a := range append(one, web) {
		a.findsIn("dc2", "web", "web-2", "web-3")
	}
}

// A token of one datacenter admits the first servers of another one, which then make tokens of their own. Certificates of one
// open nothing in the other but requests and followed services.
func TestDatacentersOverTLS(t *testing.T) {
	t.Parallel()
	one := startSecured(t, 3, map[string]any{"datacenter": "dc1"})
	token, _ := one.token(t, 0, `{"Kind": "server", "Uses": 1, "Datacenter": "dc2"}`)
	port := program.Port(t)
	second := func(more map[string]any) map[string]any {
		config := server(1, 1, port, []string{local(port)})
		maps.Copy(config, map[string]any{"datacenter": "dc2", "join_token_file": token, "retry_join_wan": one.at[1:2]})
		maps.Copy(config, more)
		return config
	}
	s := start(t, second(nil))
	s.leads()
	two := &secured{all: []*agent{s}, at: []string{local(port)}}
	agents, _ := two.token(t, 0, `{"Kind": "agent"}`)
	web := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "datacenter": "dc2", "retry_join": two.at, "join_token_file": agents})
	web.attached()
	web.register(`{"ID": "web-2", "Name": "web", "Port": 81}`)
	for _, a := range one.all {
		a.reaches("dc1", "dc2")
		a.findsIn("dc2", "web", "web-2")
	}
	one.all[0].register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	web.findsIn("dc1", "web", "web-1")
	if list := one.all[0].ok("GET", "/v1/skerry/joined", "").body; !strings.Contains(list, `"dc2/s1"`) {
		t.Errorf("the nodes that joined: %s", list)
	}

	// The token is for one server of dc2 alone: it is used up, and no server of dc1 joins with it.
	creds, agent := s.credentials(), web.credentials()
	at := one.at[0]
	post := func(conf *tls.Config, path, node, datacenter, body string) (int, string) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}, Timeout: patience}
		defer c.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Skerry-Node", node)
		req.Header.Set("X-Skerry-Via", node)
		if datacenter != "" {
			req.Header.Set("Skerry-Datacenter", datacenter)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	far := creds.DialAny()
	word := `{"from":{"name":"s1","datacenter":%q,"address":"127.0.0.1:9"},"servers":[]}`
	for name, row := range map[string]struct {
		conf                         *tls.Config
		path, node, datacenter, body string
		want                         int
	}{
		"an agent of another datacenter":              {agent.DialAny(), "/v1/skerry/link/stream/owner", "web1", "dc2", "", 0},
		"a server attaches":                           {far, "/v1/skerry/link/stream/owner", "s1", "dc2", "", 403},
		"a server attaches as one of this datacenter": {far, "/v1/skerry/link/stream/owner", "s1", "dc1", "", 403},
		"a server attaches without a datacenter":      {far, "/v1/skerry/link/stream/owner", "s1", "", "", 403},
		"a server follows as an agent":                {far, "/v1/skerry/link/stream/follow", "s1", "dc2", "", 403},
		"a server follows as another one":             {far, "/v1/skerry/link/stream/wan-follow", "s2", "dc2", "", 403},
		"a server resolves tokens":                    {far, "/v1/skerry/link/resolve", "s1", "dc2", "{}", 403},
		"a server asks for drains":                    {far, "/v1/skerry/link/drain", "s1", "dc2", "{}", 403},
		"a server renews its certificate":             {far, "/v1/skerry/link/renew", "s1", "dc2", `{"Node":"s1"}`, 403},
		"a server poses as a third datacenter":        {far, "/v1/skerry/link/datacenters", "s1", "dc2", fmt.Sprintf(word, "dc3"), 403},
		"a server poses as this datacenter":           {far, "/v1/skerry/link/datacenters", "s1", "dc2", fmt.Sprintf(word, "dc1"), 403},
		"a server names its own":                      {far, "/v1/skerry/link/datacenters", "s1", "dc2", fmt.Sprintf(word, "dc2"), 200},
	} {
		if status, text := post(row.conf, row.path, row.node, row.datacenter, row.body); status != row.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	var ports configured = one.all[0].configured()
	for name, port := range map[string]int{"the quorum store": ports.Ports.SerfLAN, "the bus": ports.Ports.SerfWAN} {
		for who, conf := range map[string]*tls.Config{"a server": creds.DialAny(), "an agent": agent.DialAny()} {
			conn, err := tls.Dial("tcp", local(port), conf)
			if err == nil { // TLS 1.3: the other side judges after this one's handshake
				conn.SetDeadline(time.Now().Add(patience))
				_, err = io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
				if err == nil {
					_, err = conn.Read(make([]byte, 1))
				}
				conn.Close()
			}
			if err == nil {
				t.Errorf("%s of dc2 is let in by %s", who, name)
			}
		}
	}
}

// Datacenters whose processes show certificates of one authority of an operator's need no token.
func TestDatacentersWithCertificatesOfAnOperator(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t, ca}
	begin := func(dc string, wan []string) (*agent, string) {
		port := program.Port(t)
		config := server(1, 1, port, []string{local(port)})
		maps.Copy(config, map[string]any{
			"datacenter": dc, "retry_join_wan": wan,
			"tls": o.files(t.TempDir(), pki.Name{Datacenter: dc, Kind: pki.Server, Node: "s1"}, time.Hour),
		})
		a := start(t, config)
		a.leads()
		return a, local(port)
	}
	one, at := begin("dc1", nil)
	two, _ := begin("dc2", []string{at})
	two.register(`{"ID": "web-2", "Name": "web", "Port": 81}`)
	one.reaches("dc1", "dc2")
	one.findsIn("dc2", "web", "web-2")
	if _, err := one.client().KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, &api.WriteOptions{Datacenter: "dc2"}); err != nil {
		t.Error(err)
	}
	if kv, _, err := two.client().KV().Get("k", nil); err != nil || kv == nil {
		t.Errorf("the key in dc2: %v, %v", kv, err)
	}
}
