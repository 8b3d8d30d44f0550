package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// acl is the configuration of access control in a datacenter whose primary one is dc1. without TLS servers show the root token
// to copy.
func aclIn(name string, copies, plain bool) map[string]any {
	tokens := map[string]any{}
	if name == "dc1" {
		tokens["initial_management"] = rootToken
	} else if plain {
		tokens["replication"] = rootToken
	}
	return map[string]any{
		"primary_datacenter": "dc1",
		"acl":                map[string]any{"enabled": true, "default_policy": "deny", "enable_token_replication": copies, "tokens": tokens},
	}
}

// twoWithTokens are two datacenters whose tokens are decided in the first.
func twoWithTokens(t *testing.T, n int, copies bool) (one, two []*agent, at []string) {
	t.Helper()
	one, first := datacenter(t, "dc1", 1, nil, aclIn("dc1", false, true))
	two, at = datacenter(t, "dc2", n, first, aclIn("dc2", copies, true))
	for _, a := range append(one, two...) {
		a.accepts(rootToken)
	}
	return one, two, at
}

// accepts waits until a token is known at a server.
func (a *agent) accepts(secret string) {
	a.t.Helper()
	await(a.t, "a token at "+a.http, func() error {
		_, _, err := a.as(secret).ACL().TokenReadSelf(nil)
		return err
	})
}

// refuses waits until a token is not known any more at a server.
func (a *agent) refuses(secret string) {
	a.t.Helper()
	await(a.t, "a token is refused at "+a.http, func() error {
		_, _, err := a.as(secret).KV().Get("web/x", nil)
		if !denied(err) {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
}

// mayWrite waits until a token may write a key at a server, or may not.
func (a *agent) mayWrite(secret, key string, may bool) {
	a.t.Helper()
	await(a.t, fmt.Sprintf("a token may write %s at %s: %v", key, a.http, may), func() error {
		_, err := a.as(secret).KV().Put(&api.KVPair{Key: key, Value: []byte("x")}, nil)
		if may && err != nil || !may && !denied(err) {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
}

// replication waits for a state of the copy.
func (a *agent) replication(is func(*api.ACLReplicationStatus) bool) {
	a.t.Helper()
	await(a.t, "the state of the copy", func() error {
		s, _, err := a.as(rootToken).ACL().Replication(nil)
		if err == nil && !is(s) {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
}

// The tokens of the primary datacenter are copied, decide when it is away, and what was removed there meanwhile is removed
// when it is back. Writes go there.
func TestTokensOfThePrimaryDatacenter(t *testing.T) {
	t.Parallel()
	one, two, _ := twoWithTokens(t, 3, true)
	web := one[0].token("web", `key_prefix "web/" { policy = "write" }`)
	gone := one[0].token("gone", `key_prefix "web/" { policy = "write" }`)
	for _, a := range two {
		a.mayWrite(web.SecretID, "web/x", true)
		a.mayWrite(web.SecretID, "db/x", false)
		a.mayWrite(gone.SecretID, "web/x", true)
		a.replication(func(s *api.ACLReplicationStatus) bool {
			return s.Enabled && s.Running && s.SourceDatacenter == "dc1" && s.ReplicationType == "tokens" && s.ReplicatedIndex > 0 && s.ReplicatedTokenIndex > 0 && !s.LastSuccess.IsZero()
		})
	}
	one[0].replication(func(s *api.ACLReplicationStatus) bool { return !s.Enabled && !s.Running })

	// What is written at a server of dc2 is written in dc1, and known in both.
	acl := two[1].as(rootToken).ACL()
	policy, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: "db", Rules: `key_prefix "db/" { policy = "write" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, _, err := one[0].as(rootToken).ACL().PolicyReadByName("db", nil); err != nil || p == nil || p.ID != policy.ID {
		t.Errorf("the policy in dc1: %+v, %v", p, err)
	}
	role, _, err := acl.RoleCreate(&api.ACLRole{Name: "db", Policies: []*api.ACLLink{{Name: "db"}}}, &api.WriteOptions{Datacenter: "dc2"})
	if err != nil {
		t.Fatal(err)
	}
	db, _, err := acl.TokenCreate(&api.ACLToken{Roles: []*api.ACLLink{{ID: role.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range append(two, one...) {
		a.mayWrite(db.SecretID, "db/x", true)
	}
	db.Description = "changed"
	if _, _, err := acl.TokenUpdate(db, nil); err != nil {
		t.Errorf("a token of dc1 is changed at dc2: %v", err)
	}
	if got, _, err := one[0].as(rootToken).ACL().TokenRead(db.AccessorID, nil); err != nil || got.Description != "changed" {
		t.Errorf("it is %+v, %v", got, err)
	}
	cloned, _, err := acl.TokenClone(db.AccessorID, "cloned", nil)
	if err != nil || cloned.Local {
		t.Fatalf("a token of dc1 is cloned at dc2: %+v, %v", cloned, err)
	}
	if _, err := acl.TokenDelete(cloned.AccessorID, nil); err != nil {
		t.Error(err)
	}
	if r := two[0].request("PUT", "/v1/acl/bootstrap", ""); r.status != 500 || !strings.Contains(r.body, "dc1") {
		t.Errorf("bootstrap at dc2: %d %s", r.status, r.body)
	}

	// Local tokens are of dc2 alone.
	local, _, err := acl.TokenCreate(&api.ACLToken{Local: true, Policies: []*api.ACLLink{{Name: "web"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range two {
		a.mayWrite(local.SecretID, "web/y", true)
	}
	one[0].refuses(local.SecretID)

	// dc1 is away: all tokens hold, also after all servers of dc2 began anew, and nothing is written.
	one[0].kill()
	await(t, "dc1 is not reached", func() error {
		_, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: "late"}, nil)
		if err == nil || !strings.Contains(err.Error(), "No path to datacenter") || !strings.Contains(err.Error(), "500") {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
	for _, a := range two {
		a.kill()
	}
	for _, a := range two {
		a.run()
	}
	two[0].leads()
	for _, a := range two {
		for _, secret := range []string{web.SecretID, local.SecretID, gone.SecretID} {
			a.mayWrite(secret, "web/x", true)
		}
		a.mayWrite(db.SecretID, "web/x", false)
		for what, err := range map[string]error{
			"a token":           second(a.as(rootToken).ACL().TokenCreate(&api.ACLToken{}, nil)),
			"a role":            second(a.as(rootToken).ACL().RoleCreate(&api.ACLRole{Name: "late"}, nil)),
			"a token's removal": only(a.as(rootToken).ACL().TokenDelete(gone.AccessorID, nil)),
		} {
			if err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
				t.Errorf("%s, while dc1 is away: %v", what, err)
			}
		}
		if list, _, err := a.as(rootToken).ACL().TokenList(nil); err != nil || len(list) < 5 {
			t.Errorf("the list of tokens: %d, %v", len(list), err)
		}
	}
	two[0].replication(func(s *api.ACLReplicationStatus) bool {
		return s.LastErrorMessage != "" && s.LastError.After(s.LastSuccess)
	})
	if _, _, err := two[2].as(rootToken).ACL().TokenCreate(&api.ACLToken{Local: true}, nil); err != nil {
		t.Errorf("a local token, while dc1 is away: %v", err)
	}

	// It is back: what is removed there is removed in dc2.
	one[0].run()
	one[0].accepts(rootToken)
	if _, err := one[0].as(rootToken).ACL().TokenDelete(gone.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range two {
		a.refuses(gone.SecretID)
		a.mayWrite(web.SecretID, "web/x", true)
		a.mayWrite(local.SecretID, "web/x", true)
	}
	two[0].replication(func(s *api.ACLReplicationStatus) bool { return s.LastSuccess.After(s.LastError) })
}

func second[A, B any](_ A, _ B, err error) error { return err }
func only[A any](_ A, err error) error           { return err }

// Where tokens are not copied the primary datacenter is asked for them, and those that were in use go on while it is away.
func TestTokensThatAreNotCopied(t *testing.T) {
	t.Parallel()
	one, two, at := twoWithTokens(t, 1, false)
	s := two[0]
	web := one[0].token("web", `key_prefix "web/" { policy = "write" } service "web" { policy = "write" }`)
	own := one[0].token("node", `node "web1" { policy = "write" } agent "web1" { policy = "write" } node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`)
	gone := one[0].token("gone", `key_prefix "web/" { policy = "write" }`)
	far := one[0].token("far", `key_prefix "" { policy = "write" }`)
	if _, _, err := one[0].as(rootToken).ACL().PolicyUpdate(&api.ACLPolicy{ID: far.Policies[0].ID, Name: "far", Rules: `key_prefix "" { policy = "write" }`, Datacenters: []string{"dc1"}}, nil); err != nil {
		t.Fatal(err)
	}
	local, _, err := one[0].as(rootToken).ACL().TokenCreate(&api.ACLToken{Local: true, Policies: []*api.ACLLink{{Name: "web"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.mayWrite(web.SecretID, "web/x", true)
	s.mayWrite(web.SecretID, "db/x", false)
	s.mayWrite(gone.SecretID, "web/x", true)
	s.mayWrite(far.SecretID, "web/x", false)
	s.refuses(local.SecretID)
	s.replication(func(s *api.ACLReplicationStatus) bool {
		return s.Enabled && s.ReplicationType == "policies" && s.ReplicatedIndex > 0 && s.ReplicatedTokenIndex == 0
	})
	acl := s.as(rootToken).ACL()
	if list, _, err := acl.TokenList(nil); err != nil || len(list) < 6 {
		t.Errorf("the list of tokens is that of dc1: %d, %v", len(list), err)
	}
	if got, _, err := acl.TokenRead(web.AccessorID, nil); err != nil || got.AccessorID != web.AccessorID {
		t.Errorf("a token of dc1: %+v, %v", got, err)
	}
	for what, err := range map[string]error{
		"Local tokens are disabled":                                  second(acl.TokenCreate(&api.ACLToken{Local: true}, nil)),
		"Token replication is required for auth methods to function": second(acl.AuthMethodList(nil)),
	} {
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "500") {
			t.Errorf("want %q: %v", what, err)
		}
	}

	// An agent decides by its server.
	agent := guarded(t, "web1", at, map[string]any{"agent": own.SecretID}, map[string]any{"datacenter": "dc2", "primary_datacenter": "dc1"})
	agent.attached()
	registers := func(secret string) error {
		return agent.as(secret).Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 80})
	}
	if err := registers(web.SecretID); err != nil {
		t.Fatal(err)
	}
	if err := registers(gone.SecretID); !denied(err) {
		t.Errorf("a service is registered without the right: %v", err)
	}
	s.sees("web", "web-1")

	// A revocation in dc1.
	if _, err := one[0].as(rootToken).ACL().TokenDelete(gone.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	s.refuses(gone.SecretID)

	// dc1 is away: tokens that were used go on, and the others have the access of names without a rule.
	one[0].kill()
	await(t, "dc1 is not reached", func() error {
		_, _, err := acl.TokenCreate(&api.ACLToken{}, nil)
		if err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
	s.mayWrite(web.SecretID, "web/x", true)
	s.mayWrite(web.SecretID, "db/x", false)
	s.mayWrite("99999999-0000-4000-8000-00000000000a", "web/x", false)
	if err := registers(web.SecretID); err != nil {
		t.Errorf("at an agent, while dc1 is away: %v", err)
	}
	agent.attached()
	s.sees("web", "web-1")

	// It is back.
	one[0].run()
	one[0].accepts(rootToken)
	if _, err := one[0].as(rootToken).ACL().TokenDelete(web.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	s.refuses(web.SecretID)
	await(t, "the agent refuses it too", func() error {
		if err := registers(web.SecretID); !denied(err) {
			return fmt.Errorf("it is answered with %v", err)
		}
		return nil
	})
}

// The primary datacenter hangs for longer than an answer about a token is good: no request of a token that is in use is refused, in
// a datacenter with a copy and in one without. A revocation arrives when it goes on.
func TestThePrimaryDatacenterHangs(t *testing.T) {
	t.Parallel()
	one, two, _ := twoWithTokens(t, 1, true)
	three, _ := datacenter(t, "dc3", 1, one[0].serves(), aclIn("dc3", false, true))
	three[0].accepts(rootToken)
	web := one[0].token("web", `key_prefix "web/" { policy = "write" }`)
	others := append(two, three...)
	for _, a := range others {
		a.mayWrite(web.SecretID, "web/x", true)
	}
	one[0].signal(syscall.SIGSTOP)
	t.Cleanup(func() { one[0].signal(syscall.SIGCONT) })
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); <-pace.C {
		for _, a := range others {
			if kv, _, err := a.as(web.SecretID).KV().Get("web/x", nil); err != nil || kv == nil {
				t.Fatalf("a token in use is refused: %v, %v", kv, err)
			}
		}
	}
	for _, a := range others {
		if _, _, err := a.as(rootToken).ACL().PolicyCreate(&api.ACLPolicy{Name: "late"}, nil); err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
			t.Errorf("a policy is made while dc1 hangs: %v", err)
		}
	}
	one[0].signal(syscall.SIGCONT)
	one[0].accepts(rootToken)
	if _, err := one[0].as(rootToken).ACL().TokenDelete(web.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range others {
		a.refuses(web.SecretID)
	}
}

// serves is the address of a server's port for servers.
func (a *agent) serves() []string {
	a.t.Helper()
	ports := a.configured().Ports
	return []string{local(ports.Server)}
}

// With TLS the certificate of a server of a known datacenter is the right to copy. Agents, and servers that ask for others, have
// none.
func TestTokensOfThePrimaryDatacenterOverTLS(t *testing.T) {
	t.Parallel()
	one := startSecured(t, 1, merged(map[string]any{"datacenter": "dc1"}, aclIn("dc1", false, false)))
	one.all[0].accepts(rootToken)
	var made struct{ Secret string }
	r := one.all[0].as(rootToken)
	if _, err := r.Raw().Write("/v1/skerry/join-token", map[string]any{"Kind": "server", "Uses": 1, "Datacenter": "dc2"}, &made, nil); err != nil {
		t.Fatal(err)
	}
	port := program.Port(t)
	s := start(t, merged(server(1, 1, port, []string{local(port)}), aclIn("dc2", true, false), map[string]any{
		"datacenter": "dc2", "join_token_file": tokenFile(t, made.Secret), "retry_join_wan": one.at,
	}))
	s.accepts(rootToken)
	web := one.all[0].token("web", `key_prefix "web/" { policy = "write" }`)
	s.mayWrite(web.SecretID, "web/x", true)
	if _, _, err := s.as(rootToken).ACL().PolicyCreate(&api.ACLPolicy{Name: "db"}, nil); err != nil {
		t.Errorf("a policy of dc1 is made at dc2: %v", err)
	}

	if _, err := s.as(rootToken).Raw().Write("/v1/skerry/join-token", map[string]any{"Kind": "agent", "Uses": 1}, &made, nil); err != nil {
		t.Fatal(err)
	}
	own := one.all[0].token("node", `node "web1" { policy = "write" }`)
	agent := guarded(t, "web1", []string{local(port)}, map[string]any{"agent": own.SecretID}, map[string]any{
		"datacenter": "dc2", "join_token_file": tokenFile(t, made.Secret), "primary_datacenter": "dc1",
	})
	agent.attached()
	asked := fmt.Sprintf(`{"Tokens":[{"Secret":%q}],"Datacenter":"dc2"}`, web.SecretID)
	for name, row := range map[string]struct {
		conf             *tls.Config
		path, node, body string
		want             int
	}{
		"a server copies":             {s.credentials().DialAny(), "/v1/skerry/link/acl", "s1", `{"Tokens":true}`, 200},
		"an agent copies":             {agent.credentials().DialAny(), "/v1/skerry/link/acl", "web1", `{"Tokens":true}`, 0},
		"a server asks for its own":   {s.credentials().DialAny(), "/v1/skerry/link/resolve", "s1", asked, 200},
		"a server asks for another's": {s.credentials().DialAny(), "/v1/skerry/link/resolve", "s1", strings.Replace(asked, "dc2", "dc3", 1), 403},
		"an agent asks":               {agent.credentials().DialAny(), "/v1/skerry/link/resolve", "web1", asked, 0},
	} {
		if status, text := postTo(t, row.conf, one.at[0], row.path, row.node, row.body); status != row.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// postTo posts to the server's port of a server, as another process.
func postTo(t *testing.T, conf *tls.Config, at, path, node, body string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}, Timeout: patience}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+at+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Skerry-Via", node)
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func merged(all ...map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}
