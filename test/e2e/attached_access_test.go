package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/miekg/dns"
)

const rootToken = "aaaaaaaa-0000-4000-8000-00000000000a"

// controlled are servers that control access and deny what no rule allows.
func controlled(t *testing.T, n int) (all []*agent, at []string) {
	t.Helper()
	return serversWith(t, n, map[string]any{"acl": map[string]any{
		"enabled": true, "default_policy": "deny", "tokens": map[string]any{"initial_management": rootToken},
	}})
}

// as is a client with a token.
func (a *agent) as(token string) *api.Client {
	a.t.Helper()
	c, err := api.NewClient(&api.Config{Address: a.http, Token: token, HttpClient: http.DefaultClient})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// token makes a token with these rules at a server.
func (a *agent) token(name, rules string) *api.ACLToken {
	a.t.Helper()
	var made *api.ACLToken
	await(a.t, "a token", func() error {
		acl := a.as(rootToken).ACL()
		if _, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
		var err error
		made, _, err = acl.TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: name}}}, nil)
		return err
	})
	return made
}

// sees waits until a service has these instances as the root token sees it at a, one of the servers.
func (a *agent) sees(service string, ids ...string) {
	a.t.Helper()
	await(a.t, service+" at "+a.http, func() error {
		found, _, err := a.as(rootToken).Health().Service(service, "", false, nil)
		if err != nil {
			return err
		}
		var got []string
		for _, f := range found {
			got = append(got, f.Service.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			return fmt.Errorf("%v, want %v", got, ids)
		}
		return nil
	})
}

// says waits until a word is in the agent's log.
func (a *agent) says(words ...string) {
	a.t.Helper()
	await(a.t, fmt.Sprintf("%q in the log", words), func() error {
		log, err := os.ReadFile(a.log.Name())
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(log), "\n") {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return nil
			}
		}
		return fmt.Errorf("it is not there")
	})
}

// guarded starts an agent of servers that control access, with its tokens.
func guarded(t *testing.T, name string, at []string, tokens, more map[string]any) *agent {
	t.Helper()
	config := map[string]any{
		"node_name": name, "server": false, "bootstrap_expect": 0, "retry_join": at,
		"acl": map[string]any{"enabled": true, "default_policy": "deny", "enable_token_persistence": true, "tokens": tokens},
	}
	for k, v := range more {
		config[k] = v
	}
	return start(t, config)
}

func denied(err error) bool { return err != nil && strings.Contains(err.Error(), "403") }

// With access control an agent registers, shows and answers what the tokens allow.
func TestAgentsControlAccess(t *testing.T) {
	t.Parallel()
	servers, at := controlled(t, 3)
	s := servers[0]
	own := s.token("agent", `node "web1" { policy = "write" } agent "web1" { policy = "write" }`)
	web := s.token("web", `service "web" { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
	finds := s.token("dns", `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`)
	a := guarded(t, "web1", at, map[string]any{"agent": own.SecretID, "dns": finds.SecretID}, map[string]any{
		"services": []map[string]any{
			{"id": "db-1", "name": "db", "port": 1, "token": web.SecretID}, {"id": "web-file", "name": "web", "port": 2, "token": web.SecretID}, {"id": "log-1", "name": "log", "port": 3},
		},
	})
	a.attached()
	for _, s := range servers {
		s.sees("web", "web-file")
		s.sees("db")
		s.sees("log")
	}
	a.says("the servers do not show a service", "service=db", "service:write", web.AccessorID)
	a.says("the servers do not show a service", "service=log", "anonymous token")

	one := &api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80}
	if err := a.as(web.SecretID).Agent().ServiceRegister(one); err != nil {
		t.Fatal(err)
	}
	for token, what := range map[string]string{"": "without a token", finds.SecretID: "that only reads", "bbbbbbbb-0000-4000-8000-00000000000b": "that is unknown"} {
		if err := a.as(token).Agent().ServiceRegister(one); !denied(err) {
			t.Errorf("a registration with a token %s: %v", what, err)
		}
	}
	if err := a.as(web.SecretID).Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "db"}); !denied(err) {
		t.Errorf("a registration of another service: %v", err)
	}
	for _, s := range servers {
		s.sees("web", "web-1", "web-file")
	}
	// Look-ups are passed on with the token, and DNS with the agent's.
	if found, _, err := a.as(finds.SecretID).Health().Service("web", "", true, nil); err != nil || len(found) != 2 {
		t.Errorf("a look-up: %+v, %v", found, err)
	}
	if found, _, err := a.as("").Health().Service("web", "", true, nil); err != nil || len(found) != 0 {
		t.Errorf("a look-up without a token: %+v, %v", found, err)
	}
	if r, err := a.resolve("web.service.consul.", dns.TypeSRV); err != nil || len(r.Answer) != 2 {
		t.Errorf("DNS at the agent: %v, %v", r, err)
	}
	if r, err := s.resolve("web.service.consul.", dns.TypeSRV); err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("DNS at a server, whose token sees nothing: %v, %v", r, err)
	}
	if self, err := a.as(own.SecretID).Agent().Self(); err != nil {
		t.Error(err)
	} else if stats, err := json.Marshal(self["Stats"]); err != nil || !strings.Contains(string(stats), `"refused_services":"db, log"`) {
		t.Errorf("the agent about itself: %s, %v", stats, err)
	}

	// With a default token that may write it, the last one is shown too.
	logs := s.token("log", `service "log" { policy = "write" }`)
	if _, err := a.as(own.SecretID).Agent().UpdateDefaultACLToken(logs.SecretID, nil); err != nil {
		t.Fatal(err)
	}
	s.sees("log", "log-1")
	await(t, "the agent's default token in a request that is passed on", func() error {
		if self, _, err := a.as("").ACL().TokenReadSelf(nil); err != nil || self.AccessorID != logs.AccessorID {
			return fmt.Errorf("%+v, %v", self, err)
		}
		return nil
	})
	a.kill()
	a.run()
	a.attached()
	for _, s := range servers {
		s.sees("web", "web-1", "web-file") // the token of web-1 is in the journal
		s.sees("log", "log-1")
	}
	log, err := os.ReadFile(a.log.Name())
	for _, secret := range []string{own.SecretID, web.SecretID, finds.SecretID, logs.SecretID, rootToken} {
		if err != nil || strings.Contains(string(log), secret) {
			t.Errorf("a secret is in the log: %v", err)
		}
	}
}

// A token that is deleted at a server is refused at an agent within a second, and what it showed goes.
func TestARevocationReachesAgents(t *testing.T) {
	t.Parallel()
	servers, at := controlled(t, 3)
	own := servers[0].token("agent", `node "web1" { policy = "write" }`)
	a := guarded(t, "web1", at, map[string]any{"agent": own.SecretID}, nil)
	a.attached()
	slowest := time.Duration(0)
	for n := range 5 {
		web := servers[n%3].token("web", `service "web" { policy = "write" }`)
		await(t, "the registration", func() error {
			return a.as(web.SecretID).Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80})
		})
		servers[0].sees("web", "web-1")
		if _, err := servers[(n+1)%3].as(rootToken).ACL().TokenDelete(web.AccessorID, nil); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		await(t, "the refusal", func() error {
			if err := a.as(web.SecretID).Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80}); !denied(err) {
				return fmt.Errorf("%v", err)
			}
			return nil
		})
		slowest = max(slowest, time.Since(began))
		for _, s := range servers {
			s.sees("web")
		}
	}
	t.Log("the slowest revocation took ", slowest)
	if slowest > time.Second {
		t.Errorf("a revocation took %v", slowest)
	}
}

// While all servers are dead, an agent decides by what it knew. After their return it learns what changed meanwhile.
func TestAgentsDecideWithoutServers(t *testing.T) {
	t.Parallel()
	servers, at := controlled(t, 3)
	own := servers[0].token("agent", `node_prefix "web" { policy = "write" }`)
	web := servers[0].token("web", `service "web" { policy = "write" }`)
	never := servers[0].token("never", `service "web" { policy = "write" }`)
	tokens := map[string]any{"agent": own.SecretID}
	a := guarded(t, "web1", at, tokens, nil)
	allow := guarded(t, "web2", at, nil, map[string]any{"acl": map[string]any{"enabled": true, "default_policy": "deny", "down_policy": "allow", "tokens": tokens}})
	put := func(a *agent, token, id string) error {
		return a.as(token).Agent().ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "web", Port: 80})
	}
	for _, one := range []*agent{a, allow} {
		one.attached()
		if err := put(one, web.SecretID, "web-1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		s.kill()
	}
	await(t, "the agents notice", func() error {
		if r := a.request("GET", "/v1/status/ready", ""); r.status != http.StatusServiceUnavailable {
			return fmt.Errorf("%d", r.status)
		}
		return nil
	})
	if err := put(a, web.SecretID, "web-2"); err != nil {
		t.Errorf("a token that was known: %v", err)
	}
	if err := put(a, never.SecretID, "web-3"); !denied(err) || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("a token that was not known: %v", err)
	}
	if err := put(allow, never.SecretID, "web-3"); err != nil {
		t.Errorf("likewise, under allow: %v", err)
	}
	for _, s := range servers {
		s.run()
	}
	for _, s := range servers {
		s.leads()
	}
	servers[1].sees("web", "web-1", "web-2", "web-1", "web-3")
	if _, err := servers[2].as(rootToken).ACL().TokenDelete(web.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the refusal", func() error {
		if err := put(a, web.SecretID, "web-1"); !denied(err) {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

// Where only one side controls access, the agent is not attached, and says what to set.
func TestAgentsAndServersAgreeOnAccess(t *testing.T) {
	t.Parallel()
	_, with := controlled(t, 1)
	_, without := servers(t, 1)
	plain := start(t, map[string]any{"node_name": "web1", "server": false, "bootstrap_expect": 0, "retry_join": with})
	strict := guarded(t, "web1", without, nil, nil)
	nameless := guarded(t, "web2", with, nil, nil)
	plain.says("it controls access", "acl.enabled")
	strict.says("it does not control access", "acl.enabled")
	nameless.says("node:write", "web2")
	for _, a := range []*agent{plain, strict, nameless} {
		if r := a.request("GET", "/v1/status/ready", ""); r.status != http.StatusServiceUnavailable {
			t.Errorf("the agent is ready: %d %s", r.status, r.body)
		}
	}
	if r := nameless.request("GET", "/v1/status/ready", ""); !strings.Contains(r.body, "node:write") {
		t.Errorf("the reason is not told: %s", r.body)
	}
}

// An agent whose token reads all services follows them, and shows each caller those that its token may read, also while no
// server is there. Another agent passes all look-ups on.
func TestAgentsFilterFollowedServices(t *testing.T) {
	t.Parallel()
	servers, at := controlled(t, 3)
	s := servers[0]
	own := s.token("app1", `node "app1" { policy = "write" } service_prefix "" { policy = "read" }`)
	narrow := s.token("app2", `node "app2" { policy = "write" }`)
	reads := s.token("reads", `service "web" { policy = "read" } node_prefix "" { policy = "read" }`)
	other := s.token("other", `service "db" { policy = "read" } node_prefix "" { policy = "read" }`)
	if err := s.as(rootToken).Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	a := guarded(t, "app1", at, map[string]any{"agent": own.SecretID}, nil)
	b := guarded(t, "app2", at, map[string]any{"agent": narrow.SecretID}, nil)
	seen := func(a *agent, token string) string {
		found, _, err := a.as(token).Health().Service("web", "", false, nil)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(len(found))
	}
	b.says("services are not followed", "Permission denied")
	a.says("services are followed at a server")
	check := func(when string) {
		t.Helper()
		for token, want := range map[string]string{reads.SecretID: "1", other.SecretID: "0", "": "0"} {
			if got := seen(a, token); got != want {
				t.Errorf("%s a token of %d characters sees %s instances, want %s", when, len(token), got, want)
			}
		}
	}
	await(t, "the service", func() error {
		for _, a := range []*agent{a, b} {
			if got := seen(a, reads.SecretID); got != "1" {
				return fmt.Errorf("%s", got)
			}
		}
		return nil
	})
	check("with servers")
	for _, s := range servers {
		s.kill()
	}
	check("without servers")
	if got := seen(b, reads.SecretID); got == "1" {
		t.Error("an agent that follows nothing has the service")
	}
}
