package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/test/program"
)

// joined starts an agent that attaches to servers, and waits until it is.
func joined(t *testing.T, name string, at []string) *agent {
	t.Helper()
	a := start(t, map[string]any{"node_name": name, "server": false, "bootstrap_expect": 0, "retry_join": at})
	a.attached()
	return a
}

// attached waits until a server has the agent's registrations.
func (a *agent) attached() {
	a.t.Helper()
	await(a.t, "the agent is attached", func() error {
		if r := a.request("GET", "/v1/status/ready", ""); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}

// homes returns how often the agent attached to a server, by its log, and the number of the last one from 0.
func (a *agent) homes() (times, last int) {
	a.t.Helper()
	log, err := os.ReadFile(a.log.Name())
	if err != nil {
		a.t.Fatal(err)
	}
	for _, found := range attachedTo.FindAllStringSubmatch(string(log), -1) {
		times++
		last = int(found[1][0] - '1')
	}
	return times, last
}

var attachedTo = regexp.MustCompile(`this agent is attached to a server" server=s([1-9])`)

// gone watches a service at a server until the test ends, and notes answers without an instance that the one
// before had.
func (a *agent) gone(ctx context.Context, service string, note func(id string)) {
	var shown map[string]bool
	index := uint64(0)
	for ctx.Err() == nil {
		found, meta, err := a.asker().Health().Service(service, "", false, (&api.QueryOptions{WaitIndex: index, WaitTime: time.Second}).WithContext(ctx))
		if err != nil { // it is down
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		index = meta.LastIndex
		now := map[string]bool{}
		for _, f := range found {
			now[f.Service.ID] = true
		}
		for id := range shown {
			if !now[id] {
				note(id)
			}
		}
		shown = now
	}
}

// What is registered at an agent is found at all servers, and at other agents; what only servers know is
// passed on by agents.
func TestAgentsAttachAndPassOn(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 3)
	one, two := joined(t, "web1", at), joined(t, "web2", at[:1])
	for i, a := range []*agent{one, two} {
		err := a.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: fmt.Sprint("web-", i+1), Name: "web", Port: 80 + i})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range append([]*agent{one, two}, servers...) {
		a.finds("web", "web-1", "web-2")
	}
	found, _, err := one.client().Health().Service("web", "", true, nil)
	if err != nil || len(found) != 2 || found[0].Node.Node != "web1" || found[1].Node.Node != "web2" {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, a := range []*agent{one, two, servers[1]} {
		r, err := a.resolve("web.service.consul.", dns.TypeSRV)
		if err != nil || len(r.Answer) != 2 {
			t.Errorf("DNS at %s: %v, %v", a.dns, r, err)
		}
	}
	if r, err := one.resolve("none.service.consul.", dns.TypeA); err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("a name that is unknown: %v, %v", r, err)
	}
	kv := one.client().KV()
	if _, err := kv.Put(&api.KVPair{Key: "limit", Value: []byte("7")}, nil); err != nil {
		t.Fatal(err)
	}
	if pair, _, err := two.client().KV().Get("limit", nil); err != nil || pair == nil || string(pair.Value) != "7" {
		t.Errorf("the key at another agent: %+v, %v", pair, err)
	}
	// A session is bound to the node of the agent that was asked.
	id, _, err := one.client().Session().Create(&api.SessionEntry{TTL: "10s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err := two.client().Session().Info(id, nil); err != nil || s == nil || s.Node != "web1" {
		t.Errorf("the session: %+v, %v", s, err)
	}
	if err := one.client().Agent().ServiceDeregister("web-1"); err != nil {
		t.Fatal(err)
	}
	for _, a := range append([]*agent{one, two}, servers...) {
		a.finds("web", "web-2")
	}
	if _, _, err := one.client().Event().Fire(&api.UserEvent{Name: "deploy"}, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the event at another agent", func() error {
		if events, _, err := two.asker().Event().List("deploy", nil); err != nil || len(events) != 1 {
			return fmt.Errorf("%+v, %v", events, err)
		}
		return nil
	})
	members, err := two.client().Agent().Members(false)
	if err != nil || len(members) < 2 || members[len(members)-1].Name != "web2" || members[0].Name != "s1" || members[0].Status != 1 {
		t.Errorf("members at an agent: %+v, %v", members, err)
	}
	// An agent that leaves takes its services out at once.
	if err := two.client().Agent().Leave(); err != nil {
		t.Fatal(err)
	}
	for _, a := range append([]*agent{one}, servers...) {
		a.finds("web")
	}
	for _, s := range servers {
		if log, err := os.ReadFile(s.log.Name()); err != nil || strings.Contains(string(log), "an owner is lost") {
			t.Errorf("the services of an agent that left were lost by its silence: %v", err)
		}
	}
	if r := one.request("GET", "/v1/agent/services", ""); strings.TrimSpace(r.body) != "{}" {
		t.Errorf("the agent's own services: %s", r.body)
	}
}

// An agent whose server dies moves to another one, and an agent that starts again within its TTL comes back: nobody
// sees its instances vanish. An agent that stays away is lost after its TTL.
func TestAgentsMoveComeBackAndAreLost(t *testing.T) {
	t.Parallel()
	servers, at := servers(t, 3)
	a := joined(t, "web1", at)
	if err := a.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		s.finds("web", "web-1")
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lost := make(chan string, 16)
	for _, s := range servers {
		go s.gone(ctx, "web", func(id string) { lost <- id })
	}
	for range 2 {
		times, home := a.homes()
		s := servers[home]
		s.kill()
		await(t, "the agent moves", func() error {
			if n, now := a.homes(); n == times || now == home {
				return fmt.Errorf("attached %d times, to s%d last", n, now+1)
			}
			return nil
		})
		a.attached()
		a.finds("web", "web-1")
		s.run()
		s.finds("web", "web-1")
	}
	a.kill()
	a.run()
	a.attached()
	time.Sleep(6 * time.Second) // nothing is awaited: for longer than the TTL nothing may happen
	select {
	case id := <-lost:
		t.Fatalf("%s vanished for a moment", id)
	default:
	}
	a.kill()
	for _, s := range servers {
		s.finds("web")
	}
}

// resolve asks the agent's DNS server.
func (a *agent) resolve(name string, kind uint16) (*dns.Msg, error) {
	c := &dns.Client{Timeout: 5 * time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, kind), a.dns)
	return r, err
}

// The port for servers and agents is no second API: a page in a browser could reach it.
func TestThePortOfServersIsNoAPI(t *testing.T) {
	t.Parallel()
	_, at := servers(t, 1)
	for _, path := range []string{"/v1/kv/a", "/v1/skerry/link/dns", "/v1/skerry/link/stream/owner"} {
		r, err := tryRequest(http.DefaultClient, "POST", "http://"+at[0]+path, "x")
		if err != nil || r.status != http.StatusForbidden && r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s, %v", path, r.status, r.body, err)
		}
	}
}

// Where access is controlled, servers take no agents yet, and both say so.
func TestAgentsAreRefusedWhereAccessIsControlled(t *testing.T) {
	t.Parallel()
	_, at := serversWith(t, 1, map[string]any{"acl": map[string]any{"enabled": true, "default_policy": "deny"}})
	a := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": at})
	await(t, "the refusal in the agent's log", func() error {
		if log, err := os.ReadFile(a.log.Name()); err != nil || !strings.Contains(string(log), "acl.enabled") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if r := a.request("GET", "/v1/status/ready", ""); r.status != http.StatusServiceUnavailable {
		t.Errorf("the agent is ready: %d %s", r.status, r.body)
	}
}

// One server alone takes agents: what they have is found at it, and again when it was killed.
func TestAServerAloneTakesAgents(t *testing.T) {
	t.Parallel()
	port := program.Port(t)
	server := start(t, map[string]any{"node_name": "s1", "ports": map[string]any{"server": port}})
	one, two := joined(t, "web1", []string{local(port)}), joined(t, "web2", []string{local(port)})
	for i, a := range []*agent{one, two} {
		a.ok("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name": "web", "ID": "web-%d", "Port": %d}`, i+1, 80+i))
	}
	found := func() {
		t.Helper()
		for _, a := range []*agent{server, one, two} {
			a.finds("web", "web-1", "web-2")
			if r, err := a.resolve("web.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 2 {
				t.Errorf("DNS at %s: %v, %v", a.dns, r, err)
			}
		}
	}
	found()
	one.ok("PUT", "/v1/kv/limit", "7")
	await(t, "the agents are on disk", func() error { // it is looked at each second
		text, err := os.ReadFile(filepath.Join(filepath.Dir(server.config), "data", "server", "agents.json"))
		if err == nil && !strings.Contains(string(text), "agent/web2") {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	ctx, stop := context.WithCancel(t.Context())
	lost := make(chan string, 16)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		server.gone(ctx, "web", func(id string) { lost <- id })
	}()
	for range 3 {
		server.kill()
		server.run()
		found()
	}
	stop()
	<-watching
	select {
	case id := <-lost:
		t.Errorf("%s vanished while the server started again", id)
	default:
	}
	two.ok("GET", "/v1/kv/limit", "")
	two.kill() // its silence is judged
	server.finds("web", "web-1")
}

// An agent tells whether a server has its registrations, and since when it is attached or alone.
func TestAnAgentTellsWhereItIsAttached(t *testing.T) {
	t.Parallel()
	port := program.Port(t)
	a := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": []string{local(port)}})
	told := func(what, path, body, want string) {
		t.Helper()
		if got := a.request("PUT", path, body).header.Get("X-Skerry-Announced"); got != want {
			t.Errorf("%s: X-Skerry-Announced is %q, want %q", what, got, want)
		}
	}
	told("alone", "/v1/agent/service/register", `{"Name": "web", "Port": 80}`, "false")
	told("alone", "/v1/agent/check/register", `{"Name": "disk", "TTL": "1h", "Status": "passing"}`, "false")
	if r := a.request("GET", "/v1/status/ready", ""); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "alone since 2") {
		t.Errorf("alone: %d %s", r.status, r.body)
	}
	if got := a.info(); !strings.Contains(got, "server = none") || !strings.Contains(got, "registrations_announced = false") {
		t.Errorf("info of an agent that is alone: %s", got)
	}
	server := start(t, map[string]any{"node_name": "s1", "ports": map[string]any{"server": port}})
	a.attached()
	server.finds("web", "web")
	told("attached", "/v1/agent/service/register", `{"Name": "web", "Port": 81}`, "")
	if r := a.request("GET", "/v1/status/ready", ""); !strings.Contains(r.body, `"Server":"s1"`) || !strings.Contains(r.body, `"Since":"2`) {
		t.Errorf("attached: %d %s", r.status, r.body)
	}
	if got := a.info(); !strings.Contains(got, "server = s1") || !strings.Contains(got, "registrations_announced = true") {
		t.Errorf("info of an agent that is attached: %s", got)
	}
}

// info returns what `skerry info` prints.
func (a *agent) info() string {
	a.t.Helper()
	out, err := exec.Command(program.Skerry(a.t), "info", "-http-addr", a.http).CombinedOutput()
	if err != nil {
		a.t.Fatalf("skerry info: %v\n%s", err, out)
	}
	return string(out)
}
