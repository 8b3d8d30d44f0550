package acl

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/test/inprocess"
)

// start runs a server with access control and waits for its store.
func start(t *testing.T, change func(*node.Config)) *client {
	t.Helper()
	at := inprocess.StartWith(t, func(cfg *node.Config) {
		cfg.ACL = node.ACL{Enabled: true, Defaults: rules.Strict, InitialManagement: root, MinTokenTTL: time.Millisecond}
		change(cfg)
	})
	c := &client{t: t, base: "http://" + at.HTTP[0]}
	if len(at.DNS) > 0 {
		c.dns = at.DNS[0]
	}
	for deadline := time.Now().Add(30 * time.Second); c.ask(get, "/v1/acl/token/self", "", root).status != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("the store did not come up")
		}
	}
	return c
}

// token makes a policy and a token with it.
func (c *client) token(name, rs string) string {
	c.t.Helper()
	policy, _ := json.Marshal(map[string]string{"Name": name, "Rules": rs})
	c.make(put, "/v1/acl/policy", string(policy), "")
	return c.make(put, "/v1/acl/token", `{"Policies":[{"Name":"`+name+`"}]}`, "SecretID")
}

// A request that is parked while it waits has its token still when it is
// answered, and is refused when the token has gone meanwhile.
func TestParkedRequestsKeepTheirToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.json")
	c := start(t, func(cfg *node.Config) {
		cfg.Consul.ParkAfter = time.Microsecond
		cfg.ACL.Audit = access.AuditConfig{Path: file, Reads: true}
	})
	reader := c.token("reader", `service "web" { policy = "read" } node_prefix "" { policy = "read" }`)
	gone := c.token("gone", `service "web" { policy = "read" } node_prefix "" { policy = "read" }`)
	accessor := c.asTokenOf(gone)
	c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":1}`, "")
	index := c.index("/v1/health/service/web", reader)
	answers := make(chan answer)
	for _, token := range []string{reader, gone} {
		go func() { answers <- c.ask(get, "/v1/health/service/web?wait=20s&index="+index, "", token) }()
	}
	c.awaitParked(2)
	c.ask(remove, "/v1/acl/token/"+accessor, "", root)
	c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":2}`, "")
	statuses := map[int]string{}
	for range 2 {
		a := <-answers
		statuses[a.status] = string(a.body)
	}
	if !strings.Contains(statuses[200], `"Port":2`) || statuses[403] != "ACL not found" {
		t.Errorf("answered %v", statuses)
	}
	noted := map[int]string{}
	for _, act := range acts(t, file) {
		if act.Path == "/v1/health/service/web" {
			noted[act.Status] = act.Reason
		}
	}
	if _, ok := noted[200]; !ok || noted[403] != "ACL not found" {
		t.Errorf("the audit log has %v of the parked reads", noted)
	}
}

// acts returns what an audit log has noted.
func acts(t *testing.T, file string) (all []skerry.Act) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(strings.NewReader(string(data))); lines.Scan(); {
		var act skerry.Act
		if err := json.Unmarshal(lines.Bytes(), &act); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, act)
	}
	return all
}

func (c *client) asTokenOf(secret string) string {
	var v struct{ AccessorID string }
	json.Unmarshal(c.ask(get, "/v1/acl/token/self", "", secret).body, &v)
	return v.AccessorID
}

func (c *client) index(path, token string) string {
	req, _ := http.NewRequestWithContext(c.t.Context(), get, c.base+path, nil)
	req.Header.Set("X-Consul-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Consul-Index")
}

// awaitParked returns when that many requests wait.
func (c *client) awaitParked(n int) {
	c.t.Helper()
	want := fmt.Sprintf("skerry_http_blocking_queries %d", n)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if strings.Contains(string(c.ask(get, "/v1/agent/metrics?format=prometheus", "", root).body), want) {
			return
		}
	}
	c.t.Fatalf("not %d requests wait:\n%s", n, c.ask(get, "/v1/agent/metrics?format=prometheus", "", root).body)
}

// DNS answers with its own token, and has nothing without.
func TestDNSToken(t *testing.T) {
	secret := "bbbbbbbb-0000-4000-8000-00000000000b"
	c := start(t, func(cfg *node.Config) {
		cfg.Door.DNS = []string{"127.0.0.1:0"}
		cfg.DNS.Domain = "consul"
		cfg.ACL.Tokens = map[string]string{access.DNSToken: secret}
	})
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":80}}`, "")
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"db","Port":81}}`, "")
	answers := func(name string) int {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		r, err := dns.Exchange(m, c.dns)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Answer)
	}
	if answers("web.service.consul.") != 0 || answers("far.node.consul.") != 0 {
		t.Error("DNS answers with a token that is not known")
	}
	c.make(put, "/v1/acl/policy", `{"Name":"dns","Rules":"service \"web\" { policy = \"read\" } node \"far\" { policy = \"read\" }"}`, "")
	c.make(put, "/v1/acl/token", `{"SecretID":"`+secret+`","Policies":[{"Name":"dns"}]}`, "")
	if answers("web.service.consul.") != 1 || answers("far.node.consul.") != 1 || answers("db.service.consul.") != 0 {
		t.Error("DNS does not answer what its token allows, and that only")
	}
}

// A write that says that a check is of its own service does not reach a check of
// another, nor an instance that has the ID of another service.
func TestOthersThingsAreOutOfReach(t *testing.T) {
	c := start(t, func(*node.Config) {})
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":80},"Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web"}}`, "")
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"mine","Port":81},"Check":{"CheckID":"m","Name":"m","Status":"passing","ServiceID":"mine"}}`, "")
	c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"CheckID":"beat","TTL":"1h"}}`, "")
	c.make(put, "/v1/agent/service/register", `{"Name":"mine","Port":81}`, "")
	mine := c.token("mine", `service "mine" { policy = "write" } node_prefix "" { policy = "read" }`)
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"mine","Port":81},"Check":{"CheckID":"c","Name":"c","Status":"critical","ServiceID":"mine"}}`, 403},
		{"/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"ID":"web","Service":"mine","Port":81}}`, 403},
		{"/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Check":{"CheckID":"n","Name":"n","Status":"critical"}}`, 403},
		{"/v1/catalog/register", `{"Node":"far","Address":"10.9.9.9","Service":{"Service":"mine","Port":81}}`, 403},
		{"/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"mine","Port":82},"Check":{"CheckID":"m","Name":"m","Status":"passing","ServiceID":"mine"}}`, 200},
		{"/v1/catalog/deregister", `{"Node":"far","CheckID":"c"}`, 403},
		{"/v1/catalog/deregister", `{"Node":"far","ServiceID":"web"}`, 403},
		{"/v1/catalog/deregister", `{"Node":"far"}`, 403},
		{"/v1/txn", `[{"Check":{"Verb":"delete","Check":{"Node":"far","CheckID":"c","ServiceID":"mine"}}}]`, 409},
		{"/v1/txn", `[{"Check":{"Verb":"set","Check":{"Node":"far","CheckID":"c","Name":"c","ServiceID":"mine","Status":"critical"}}}]`, 409},
		{"/v1/txn", `[{"Service":{"Verb":"set","Node":"far","Service":{"ID":"web","Service":"mine"}}}]`, 409},
		{"/v1/txn", `[{"Service":{"Verb":"delete","Node":"far","Service":{"ID":"web"}}}]`, 409},
		{"/v1/txn", `[{"Check":{"Verb":"set","Check":{"Node":"far","CheckID":"m","Name":"m","ServiceID":"mine","Status":"warning"}}}]`, 200},
		{"/v1/agent/service/register", `{"ID":"web","Name":"mine"}`, 403},
		{"/v1/agent/check/register", `{"ID":"beat","Name":"beat","TTL":"1h","ServiceID":"mine"}`, 403},
		{"/v1/agent/check/fail/beat", "", 403},
		{"/v1/agent/service/register", `{"Name":"mine","Checks":[{"CheckID":"beat","TTL":"1h"}]}`, 403},
		{"/v1/catalog/deregister", `{"Node":"far","ServiceID":"mine"}`, 200},
	} {
		if a := c.ask(put, tc.path, tc.body, mine); a.status != tc.status {
			t.Errorf("%s %s: %d %s, want %d", tc.path, tc.body, a.status, a.body, tc.status)
		}
	}
}

// What stands beside the API is not open either.
func TestMetricsAndProfiles(t *testing.T) {
	c := start(t, func(cfg *node.Config) { cfg.Profiles = true })
	agent, operator := c.token("agent", `agent "n1" { policy = "read" }`), c.token("operator", `operator = "read"`)
	for _, tc := range []struct {
		path, token string
		status      int
	}{
		{"/metrics", "", 403}, {"/metrics", operator, 403}, {"/metrics", agent, 200}, {"/metrics?token=none", "", 403},
		{"/debug/pprof/heap", "", 403}, {"/debug/pprof/cmdline", agent, 403}, {"/debug/pprof/cmdline", operator, 200},
	} {
		if a := c.ask(get, tc.path, "", tc.token); a.status != tc.status {
			t.Errorf("%s: %d %s, want %d", tc.path, a.status, a.body, tc.status)
		}
	}
}

// A dry run refuses nothing; the audit log has who did what, and no secret.
func TestDryRunAndAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.json")
	c := start(t, func(cfg *node.Config) {
		cfg.ACL.DryRun = true
		cfg.ACL.Audit = access.AuditConfig{Path: file}
	})
	if a := c.ask(put, "/v1/kv/secret/a?token=not-a-token", "1", ""); a.status != http.StatusOK {
		t.Errorf("a dry run refuses: %d %s", a.status, a.body)
	}
	if a := c.ask(get, "/v1/catalog/nodes", "", ""); !strings.Contains(string(a.body), `"n1"`) || a.filtered {
		t.Errorf("a dry run leaves out: %s", a.body)
	}
	c.make(put, "/v1/kv/b", "2", "")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	noted := slices.DeleteFunc(acts(t, file), func(act skerry.Act) bool {
		return act.Path == "/v1/acl/token/self" // of those who waited for the store
	})
	if len(noted) != 2 || noted[0].Accessor != skerry.AnonymousAccessor || noted[0].Path != "/v1/kv/secret/a" || noted[0].Status != 200 || noted[0].From == "" ||
		noted[1].Accessor != c.asTokenOf(root) {
		t.Errorf("noted %+v", noted)
	}
	if strings.Contains(string(data), root) || strings.Contains(string(data), "not-a-token") {
		t.Error("a secret is in the audit log")
	}
}

// explain names the rule that leaves an instance out, and hides whose it is from
// who may not operate the server.
func TestExplain(t *testing.T) {
	c := start(t, func(*node.Config) {})
	c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":1}`, "")
	blind := c.token("blind", `service "web" { policy = "deny" }`)
	operator := c.token("operator", `service "web" { policy = "deny" } operator = "read"`)
	for _, tc := range []struct{ token, rule, node string }{
		{"", "no rule names it: the default is deny", ""},
		{blind, `policy "blind": service "web" { policy = "deny" }`, ""},
		{operator, `policy "operator": service "web" { policy = "deny" }`, "n1"},
	} {
		var v struct {
			Kept    []any
			Dropped []struct{ Node, Stage, Reason string }
		}
		body := c.ask(get, "/v1/skerry/explain/web", "", tc.token).body
		if err := json.Unmarshal(body, &v); err != nil || len(v.Kept) != 0 || len(v.Dropped) != 1 {
			t.Fatalf("%v: %s", err, body)
		}
		if d := v.Dropped[0]; d.Stage != "acl" || d.Reason != tc.rule || d.Node != tc.node {
			t.Errorf("explained as %+v, want %+v", d, tc)
		}
	}
}

// A request that waits is refused as soon as its token is removed or ends, however it
// waits, and though nothing that it waits for changes. Others go on waiting.
func TestWaitingEndsWithTheToken(t *testing.T) {
	for name, parkAfter := range map[string]time.Duration{"parked": time.Microsecond, "not parked": time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := start(t, func(cfg *node.Config) { cfg.Consul.ParkAfter = parkAfter })
			c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":1}`, "")
			c.make(put, "/v1/acl/policy", `{"Name":"reader","Rules":"service \"web\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }"}`, "")
			removed := c.make(put, "/v1/acl/token", `{"Policies":[{"Name":"reader"}]}`, "SecretID")
			stays := c.make(put, "/v1/acl/token", `{"Policies":[{"Name":"reader"}]}`, "SecretID")
			accessor := c.asTokenOf(removed)
			path := "/v1/health/service/web?wait=60s&index=" + c.index("/v1/health/service/web", root)
			ends := c.make(put, "/v1/acl/token", `{"ExpirationTTL":"1s","Policies":[{"Name":"reader"}]}`, "SecretID")
			wait := func(token string) <-chan answer {
				answered := make(chan answer, 1)
				go func() { answered <- c.ask(get, path, "", token) }()
				return answered
			}
			gone, expired, other := wait(removed), wait(ends), wait(stays)
			within := func(what string, a <-chan answer) {
				select {
				case got := <-a:
					if got.status != http.StatusForbidden || string(got.body) != "ACL not found" {
						t.Errorf("%s: answered %d %s", what, got.status, got.body)
					}
				case <-time.After(patience):
					t.Errorf("%s: the request goes on waiting", what)
				}
			}
			within("an expired token", expired)
			c.make(remove, "/v1/acl/token/"+accessor, "", "")
			within("a removed token", gone)
			c.make(put, "/v1/agent/service/register", `{"Name":"web","Port":2}`, "")
			if got := <-other; got.status != http.StatusOK || !strings.Contains(string(got.body), `"Port":2`) {
				t.Errorf("one whose token is still there: %d %s", got.status, got.body)
			}
		})
	}
}

// The audit log has each refusal and each write: also what never came to an endpoint,
// and what its client gave up.
func TestAuditIsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.json")
	c := start(t, func(cfg *node.Config) {
		cfg.ACL.Audit = access.AuditConfig{Path: file}
		cfg.Consul.Blocked = []string{"/v1/operator/"}
		cfg.Profiles = true
	})
	long := "/v1/kv/" + strings.Repeat("k", 4000)
	for _, one := range []ask{
		by(put, "/v1/no/such/endpoint", ""), by(get, "/metrics", ""), by(get, "/debug/pprof/heap", ""), by(get, "/v1/operator/usage", ""),
		by(post, "/v1/kv/x", ""), by(put, "/v1//kv/x", ""), by(put, "/v1/kv/a%01b", ""), by(get, long, ""),
	} {
		c.ask(one.method, one.path, one.body, "")
	}
	// A body that stays half sent until its client is gone.
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /v1/kv/given-up HTTP/1.1\r\nHost: x\r\nX-Consul-Token: %s\r\nContent-Length: 100\r\n\r\nhalf", root)
	conn.(*net.TCPConn).CloseWrite()
	conn.Close()
	want := []string{
		"PUT /v1/no/such/endpoint 404", "GET /metrics 403", "GET /debug/pprof/heap 403", "GET /v1/operator/usage 403",
		"POST /v1/kv/x 405", "PUT /v1//kv/x 307", "PUT /v1/kv/a\x01b 400", "GET " + long[:1024] + " 403", "PUT /v1/kv/given-up ",
	}
	have := ""
	for deadline := time.Now().Add(patience); len(want) > 0; {
		have = ""
		for _, act := range acts(t, file) {
			line := fmt.Sprintf("%s %s %d", act.Method, act.Path, act.Status)
			have += line + "\n"
			want = slices.DeleteFunc(want, func(w string) bool { return strings.HasPrefix(line, w) })
			if len(act.Path) == 1024 && act.PathBytes != len(long) {
				t.Errorf("the length of a path that is cut is noted as %d", act.PathBytes)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("not noted: %q, but\n%s", want, have)
		}
	}
	for _, act := range acts(t, file) {
		if act.Path == "/v1/kv/given-up" && act.Status < 400 {
			t.Errorf("what was given up is noted as done: %+v", act)
		}
	}
}

// Any spelling finds a service, but a token reads the spellings that its rules name.
func TestSpellingsHaveRulesOfTheirOwn(t *testing.T) {
	for _, hides := range []bool{false, true} {
		c := start(t, func(cfg *node.Config) { cfg.ACL.Hide = hides })
		reader := c.token("reader", `service "web" { policy = "read" } node_prefix "" { policy = "read" }`)
		c.make(put, "/v1/agent/service/register", `{"ID":"upper","Name":"Web"}`, "")
		c.make(put, "/v1/agent/service/register", `{"ID":"lower","Name":"web"}`, "")
		for _, path := range []string{"/v1/health/service/", "/v1/catalog/service/", "/v1/skerry/explain/", "/v1/internal/ui/services?"} {
			for _, name := range []string{"web", "Web", "WEB"} {
				body := string(c.ask(get, path+name, "", reader).body)
				if strings.Contains(body, `"upper"`) || strings.Contains(body, `"Name":"Web"`) || !strings.Contains(body, `"lower"`) && !strings.Contains(body, `"Name":"web"`) {
					t.Errorf("hides %v: %s%s shows %s", hides, path, name, body)
				}
			}
		}
		if got := string(c.ask(get, "/v1/catalog/services", "", reader).body); got != `{"web":[]}` {
			t.Errorf("the services are %s", got)
		}
	}
}
