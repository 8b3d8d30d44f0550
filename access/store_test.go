package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

const rootSecret = "aaaaaaaa-0000-4000-8000-00000000000a"

func open(t *testing.T, change func(*Options)) *Store {
	t.Helper()
	o := Options{KV: replicatest.NewMemory(), Datacenter: "dc1", Node: "n1", InitialManagement: rootSecret, Key: bytes.Repeat([]byte{7}, 32)}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wants(t *testing.T, err error, kind skerry.Kind, text string) {
	t.Helper()
	var e *skerry.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, text) {
		t.Errorf("%v (%v), want %v: %s", err, skerry.KindOf(err), kind, text)
	}
}

func allows(t *testing.T, g skerry.Gate, secret string, r skerry.Resource, name string, a skerry.Access) bool {
	t.Helper()
	who, err := g.Identify(secret)
	if err != nil {
		t.Fatal(err)
	}
	return who.Allows(r, name, a)
}

func TestTokens(t *testing.T) {
	s := open(t, nil)
	g := NewGate(s, nil)
	ctx := t.Context()
	web := must(s.PutPolicy(ctx, skerry.Policy{Name: "web", Rules: `service "web" { policy = "write" }`}))(t)
	made := must(s.CreateToken(ctx, skerry.Token{Description: "t1", Grants: skerry.Grants{Policies: []skerry.Link{{Name: "web"}, {ID: web.ID}}}}, 0))(t)
	if !slices.Equal(made.Policies, []skerry.Link{{ID: web.ID, Name: "web"}}) || made.Secret == "" || made.Created != made.Modified || made.Created == 0 {
		t.Errorf("made %+v", made)
	}
	if read := s.Token(made.Accessor); fmt.Sprint(read) != fmt.Sprint(made) {
		t.Errorf("read %+v\nmade %+v", read, made)
	}
	if self := s.TokenBySecret(made.Secret); self == nil || self.Accessor != made.Accessor || self.Secret != made.Secret {
		t.Errorf("by secret: %+v", self)
	}
	if !allows(t, g, made.Secret, "service", "web", skerry.AccessWrite) || allows(t, g, made.Secret, "service", "db", skerry.AccessRead) {
		t.Error("the token grants something else")
	}
	updated := must(s.UpdateToken(ctx, skerry.Token{Accessor: made.Accessor, Description: "t2", Grants: skerry.Grants{Services: []skerry.ServiceIdentity{{Service: "db"}}}}))(t)
	if updated.Secret != made.Secret || updated.Modified <= made.Modified || updated.Created != made.Created || bytes.Equal(updated.Hash, made.Hash) {
		t.Errorf("updated %+v", updated)
	}
	if allows(t, g, made.Secret, "service", "web", skerry.AccessWrite) || !allows(t, g, made.Secret, "service", "db", skerry.AccessWrite) {
		t.Error("the change is without effect")
	}
	clone := must(s.CloneToken(ctx, made.Accessor, ""))(t)
	if clone.Secret == made.Secret || clone.Description != "t2" || len(clone.Services) != 1 {
		t.Errorf("clone %+v", clone)
	}
	if all, index := s.Tokens(); len(all) != 4 || index != clone.Modified { // with the anonymous and the management token
		t.Errorf("%d tokens at %d", len(all), index)
	}
	if err := s.DeleteToken(ctx, made.Accessor); err != nil {
		t.Fatal(err)
	}
	_, err := g.Identify(made.Secret)
	wants(t, err, skerry.Denied, "ACL not found")
	wants(t, s.DeleteToken(ctx, made.Accessor), skerry.NotFound, "Cannot find token to delete")
}

func TestTokenErrors(t *testing.T) {
	s := open(t, nil)
	ctx := t.Context()
	id := "12345678-0000-0000-0000-000000000001"
	must(s.CreateToken(ctx, skerry.Token{Accessor: id, Secret: id}, 0))(t)
	for _, tc := range []struct {
		token skerry.Token
		ttl   time.Duration
		kind  skerry.Kind
		text  string
	}{
		{skerry.Token{Accessor: id}, 0, skerry.Conflict, "Invalid Token: AccessorID is already in use"},
		{skerry.Token{Secret: id}, 0, skerry.Conflict, "Invalid Token: SecretID is already in use"},
		{skerry.Token{Accessor: "xyz"}, 0, skerry.Invalid, "Invalid Token: AccessorID - not a valid UUID"},
		{skerry.Token{Secret: "xyz"}, 0, skerry.Invalid, "Invalid Token: SecretID - not a valid UUID"},
		{skerry.Token{Accessor: "00000000-0000-0000-0000-000000000077"}, 0, skerry.Invalid, "reserved"},
		{skerry.Token{}, time.Second, skerry.Invalid, "ExpirationTime cannot be less than 1m0s in the future (was 1s)"},
		{skerry.Token{}, 25 * time.Hour, skerry.Invalid, "ExpirationTime cannot be more than 24h0m0s in the future (was 25h0m0s)"},
		{skerry.Token{}, -time.Second, skerry.Invalid, "should be > 0"},
		{skerry.Token{Expires: time.Now()}, time.Hour, skerry.Invalid, "cannot both be set"},
		{skerry.Token{Grants: skerry.Grants{Policies: []skerry.Link{{Name: "none"}}}}, 0, skerry.Invalid, `No such ACL policy with name "none"`},
		{skerry.Token{Roles: []skerry.Link{{ID: id}}}, 0, skerry.Invalid, `No such ACL role with ID "` + id + `"`},
		{skerry.Token{Grants: skerry.Grants{Services: []skerry.ServiceIdentity{{Service: "Web"}}}}, 0, skerry.Invalid, "has an invalid name"},
		{skerry.Token{Local: true, Grants: skerry.Grants{Services: []skerry.ServiceIdentity{{Service: "web", Datacenters: []string{"dc1"}}}}}, 0, skerry.Invalid, "on a local token"},
		{skerry.Token{Grants: skerry.Grants{Nodes: []skerry.NodeIdentity{{Node: "n1"}}}}, 0, skerry.Invalid, "missing the datacenter"},
		{skerry.Token{Grants: skerry.Grants{Templates: []skerry.TemplatedPolicy{{Template: "builtin/none"}}}}, 0, skerry.Invalid, "no such ACL templated policy"},
		{skerry.Token{Grants: skerry.Grants{Templates: []skerry.TemplatedPolicy{{Template: "builtin/node"}}}}, 0, skerry.Invalid, "needs the variable name"},
		{skerry.Token{Grants: skerry.Grants{Templates: []skerry.TemplatedPolicy{{Template: "builtin/dns", Name: "x"}}}}, 0, skerry.Invalid, "takes no variables"},
	} {
		_, err := s.CreateToken(ctx, tc.token, tc.ttl)
		wants(t, err, tc.kind, tc.text)
	}
	_, err := s.UpdateToken(ctx, skerry.Token{Accessor: "99999999-0000-0000-0000-000000000001"})
	wants(t, err, skerry.NotFound, `Cannot find token "99999999-0000-0000-0000-000000000001"`)
	_, err = s.UpdateToken(ctx, skerry.Token{Accessor: id, Secret: rootSecret})
	wants(t, err, skerry.Invalid, "SecretID is not permitted")
	_, err = s.UpdateToken(ctx, skerry.Token{Accessor: id, Local: true})
	wants(t, err, skerry.Invalid, "Cannot toggle local mode")
	wants(t, s.DeleteToken(ctx, skerry.AnonymousAccessor), skerry.Invalid, "not permitted on the anonymous token")
	_, err = s.CloneToken(ctx, skerry.AnonymousAccessor, "")
	wants(t, err, skerry.Invalid, "anonymous")
}

// No value that is stored holds a secret, and another key does not open it.
func TestSecretsAreNotStored(t *testing.T) {
	kv := replicatest.NewMemory()
	s := open(t, func(o *Options) { o.KV = kv })
	made := must(s.CreateToken(t.Context(), skerry.Token{}, 0))(t)
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		for _, secret := range []string{rootSecret, made.Secret} {
			if strings.Contains(r.Key, secret) || bytes.Contains(r.Value, []byte(secret)) {
				t.Errorf("%s holds a secret", r.Key)
			}
		}
	}
	other := open(t, func(o *Options) { o.KV, o.Key = kv, nil })
	if got := other.Token(made.Accessor); got == nil || got.Secret != "" {
		t.Errorf("another key opens the secret: %v", got)
	}
	if !allows(t, NewGate(other, nil), rootSecret, "acl", "", skerry.AccessWrite) {
		t.Error("the secret is not good where it cannot be shown")
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := replicatest.NewMemory()
		s := open(t, func(o *Options) { o.KV = kv })
		g := NewGate(s, nil)
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		made := must(s.CreateToken(ctx, skerry.Token{Grants: skerry.Grants{Policies: []skerry.Link{{ID: skerry.GlobalManagement}}}}, 2*time.Minute))(t)
		if !allows(t, g, made.Secret, "acl", "", skerry.AccessWrite) {
			t.Error("a token before its end is refused")
		}
		time.Sleep(2*time.Minute - time.Nanosecond)
		if !allows(t, g, made.Secret, "acl", "", skerry.AccessWrite) {
			t.Error("a token just before its end is refused")
		}
		time.Sleep(time.Nanosecond)
		_, err := g.Identify(made.Secret)
		wants(t, err, skerry.Denied, "ACL not found")
		if s.Token(made.Accessor) != nil {
			t.Error("an expired token is shown")
		}
		time.Sleep(time.Minute)
		for r := range kv.Snapshot().All(skerry.Below(root), "") {
			if strings.Contains(r.Key, made.Accessor) || string(r.Value) == made.Accessor {
				t.Errorf("%s is left of an expired token", r.Key)
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestPolicies(t *testing.T) {
	s := open(t, nil)
	ctx := t.Context()
	for _, tc := range []struct {
		policy skerry.Policy
		kind   skerry.Kind
		text   string
	}{
		{skerry.Policy{}, skerry.Invalid, "Invalid Policy: no Name is set"},
		{skerry.Policy{Name: "bad name"}, skerry.Invalid, "Invalid Policy: invalid Name. Only alphanumeric characters, a single '/', '-' and '_' are allowed"},
		{skerry.Policy{Name: "a/b/c"}, skerry.Invalid, "invalid Name"},
		{skerry.Policy{Name: "x", Rules: `service "x" { policy = "fly" }`}, skerry.Invalid, "Invalid service policy"},
		{skerry.Policy{Name: "global-management"}, skerry.Conflict, `Invalid Policy: A Policy with Name "global-management" already exists`},
		{skerry.Policy{ID: rootSecret, Name: "x"}, skerry.NotFound, "no such policy"},
		{skerry.Policy{ID: skerry.GlobalManagement, Name: "global-management"}, skerry.Invalid, "is not permitted"},
	} {
		_, err := s.PutPolicy(ctx, tc.policy)
		wants(t, err, tc.kind, tc.text)
	}
	p := must(s.PutPolicy(ctx, skerry.Policy{Name: "a/b", Rules: `key "x" { policy = "read" }`, Datacenters: []string{"dc2"}}))(t)
	token := must(s.CreateToken(ctx, skerry.Token{Grants: skerry.Grants{Policies: []skerry.Link{{ID: p.ID}}}}, 0))(t)
	g := NewGate(s, nil)
	if allows(t, g, token.Secret, "key", "x", skerry.AccessRead) {
		t.Error("a policy of another datacenter holds")
	}
	p.Datacenters, p.Name = nil, "renamed"
	p = must(s.PutPolicy(ctx, *p))(t)
	if !allows(t, g, token.Secret, "key", "x", skerry.AccessRead) {
		t.Error("a changed policy is without effect")
	}
	if s.PolicyByName("a/b") != nil || s.PolicyByName("renamed") == nil || s.Token(token.Accessor).Policies[0].Name != "renamed" {
		t.Error("the old name is left")
	}
	if err := s.DeletePolicy(ctx, p.ID); err != nil {
		t.Fatal(err)
	}
	if allows(t, g, token.Secret, "key", "x", skerry.AccessRead) || len(s.Token(token.Accessor).Policies) != 0 {
		t.Error("a removed policy holds")
	}
	wants(t, s.DeletePolicy(ctx, p.ID), skerry.NotFound, "Cannot find policy to delete")
	wants(t, s.DeletePolicy(ctx, skerry.GlobalManagement), skerry.Invalid, "Delete operation not permitted on the builtin global-management policy")
}

func TestRoles(t *testing.T) {
	s := open(t, nil)
	ctx := t.Context()
	g := NewGate(s, nil)
	r := must(s.PutRole(ctx, skerry.Role{Name: "ops", Grants: skerry.Grants{Policies: []skerry.Link{{Name: "global-management"}}}}))(t)
	token := must(s.CreateToken(ctx, skerry.Token{Roles: []skerry.Link{{Name: "ops"}}}, 0))(t)
	if !allows(t, g, token.Secret, "acl", "", skerry.AccessWrite) {
		t.Error("the role grants nothing")
	}
	r.Policies, r.Nodes = nil, []skerry.NodeIdentity{{Node: "n1", Datacenter: "dc1"}}
	must(s.PutRole(ctx, *r))(t)
	if allows(t, g, token.Secret, "acl", "", skerry.AccessRead) || !allows(t, g, token.Secret, "node", "n1", skerry.AccessWrite) {
		t.Error("a changed role is without effect")
	}
	_, err := s.PutRole(ctx, skerry.Role{Name: "ops"})
	wants(t, err, skerry.Conflict, `Invalid Role: A Role with Name "ops" already exists`)
	_, err = s.PutRole(ctx, skerry.Role{Name: "a/b"})
	wants(t, err, skerry.Invalid, "invalid Name")
	if err := s.DeleteRole(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	if allows(t, g, token.Secret, "node", "n1", skerry.AccessWrite) || s.RoleByName("ops") != nil {
		t.Error("a removed role holds")
	}
}

func TestBootstrap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acl-bootstrap-reset")
	s := open(t, func(o *Options) { o.InitialManagement, o.ResetFile = "", file })
	ctx := t.Context()
	g := NewGate(s, nil)
	_, err := g.Identify("root")
	wants(t, err, skerry.Denied, "ACL system must be bootstrapped before making any requests that require authorization: ACL not found")
	first := must(s.Bootstrap(ctx, ""))(t)
	if !allows(t, g, first.Secret, "acl", "", skerry.AccessWrite) || first.Description != "Bootstrap Token (Global Management)" {
		t.Errorf("the first token is %+v", first)
	}
	_, err = s.Bootstrap(ctx, "")
	wants(t, err, skerry.Denied, fmt.Sprintf("Permission denied: ACL bootstrap no longer allowed (reset index: %d)", first.Created))
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", first.Created), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Bootstrap(ctx, "bad")
	wants(t, err, skerry.Invalid, "not a valid UUID")
	second := must(s.Bootstrap(ctx, rootSecret))(t)
	if second.Secret != rootSecret || !allows(t, g, rootSecret, "acl", "", skerry.AccessWrite) {
		t.Errorf("the second token is %+v", second)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the reset file is left")
	}
	_, err = s.Bootstrap(ctx, "bad")
	wants(t, err, skerry.Denied, "no longer allowed")
}

// The first token may be asked for before the store has what is always there.
func TestBootstrapBeforeInit(t *testing.T) {
	s := must(New(Options{KV: replicatest.NewMemory(), Datacenter: "dc1"}))(t)
	first := must(s.Bootstrap(t.Context(), ""))(t)
	if len(first.Policies) != 1 || !allows(t, NewGate(s, nil), first.Secret, "acl", "", skerry.AccessWrite) {
		t.Errorf("the first token is %+v", first)
	}
}

func TestInitChangesNothingTwice(t *testing.T) {
	kv := replicatest.NewMemory()
	s := open(t, func(o *Options) { o.KV = kv })
	index := kv.Snapshot().Index()
	if err := s.Init(t.Context()); err != nil || kv.Snapshot().Index() != index {
		t.Errorf("%v: %d after %d", err, kv.Snapshot().Index(), index)
	}
}

func TestAgentTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "acl-tokens.json")
	configured := map[string]string{DefaultToken: rootSecret, RecoveryToken: "towel"}
	a := must(NewAgentTokens(configured, path))(t)
	s := open(t, nil)
	g := NewGate(s, a)
	if who := must(g.Identify(""))(t); who.Anonymous() || !who.Allows("acl", "", skerry.AccessWrite) {
		t.Error("the default token does not stand in for none")
	}
	who := must(g.Identify("towel"))(t)
	if !who.Allows("agent", "n1", skerry.AccessWrite) || who.Allows("agent", "n2", skerry.AccessRead) || !who.Allows("node", "any", skerry.AccessRead) || who.Allows("acl", "", skerry.AccessRead) {
		t.Error("the recovery token grants something else")
	}
	if err := a.Set("default", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.Set("acl_agent_token", "x"); err != nil || a.Secret(AgentToken) != "x" {
		t.Errorf("%v: the old name is not known", err)
	}
	wants(t, a.Set("none", "x"), skerry.NotFound, `Token "none" is unknown`)
	if who := must(g.Identify(""))(t); !who.Anonymous() || who.Accessor() != skerry.AnonymousAccessor {
		t.Error("the default token is not gone")
	}
	again := must(NewAgentTokens(configured, path))(t)
	if again.Secret(AgentToken) != "x" || again.Secret(DefaultToken) != "" || again.DNSSecret() != "" || again.Secret(RecoveryToken) != "towel" {
		t.Error("the tokens did not come back")
	}
	again.Configure(map[string]string{DNSToken: "d", AgentToken: "y"})
	if again.DNSSecret() != "d" || again.Secret(AgentToken) != "x" || again.Secret(RecoveryToken) != "" {
		t.Error("a new configuration has another effect")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: others may read %s", err, path)
	}
}

func TestAnonymousToken(t *testing.T) {
	s := open(t, nil)
	g := NewGate(s, nil)
	if allows(t, g, "", "node", "x", skerry.AccessRead) {
		t.Error("the anonymous token grants something from the start")
	}
	must(s.UpdateToken(t.Context(), skerry.Token{Accessor: skerry.AnonymousAccessor, Grants: skerry.Grants{Templates: []skerry.TemplatedPolicy{{Template: "builtin/dns"}}}}))(t)
	if !allows(t, g, "", "node", "x", skerry.AccessRead) {
		t.Error("what it was given is without effect")
	}
}

func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := NewDryRun(NewGate(open(t, nil), nil), slog.New(slog.NewTextHandler(&out, nil)))
		for range 3 {
			if !allows(t, d, "", "service", "web", skerry.AccessWrite) {
				t.Error("it refuses")
			}
		}
		if who, err := d.Identify("unknown-secret"); err != nil || !who.AllowsBelow("key", "a/", skerry.AccessWrite) {
			t.Errorf("it refuses an unknown secret: %v", err)
		}
		if n := strings.Count(out.String(), "would refuse"); n != 3 || d.Refused() != 5 {
			t.Errorf("%d lines, %d refused:\n%s", n, d.Refused(), &out)
		}
		if strings.Contains(out.String(), "unknown-secret") {
			t.Error("the secret is logged")
		}
		time.Sleep(tellEvery)
		allows(t, d, "", "service", "web", skerry.AccessWrite)
		if n := strings.Count(out.String(), "would refuse"); n != 4 {
			t.Errorf("%d lines after a minute", n)
		}
	})
}

func TestAudit(t *testing.T) {
	dir := t.TempDir()
	a := must(OpenAudit(AuditConfig{Path: filepath.Join(dir, "log", "audit.json"), MaxAge: time.Hour, MaxFiles: 2}, slog.New(slog.DiscardHandler)))(t)
	if a.Wants("GET", 200) || !a.Wants("GET", 403) || !a.Wants("PUT", 200) {
		t.Error("it wants something else")
	}
	at := time.Now()
	a.Note(skerry.Act{Time: at, Accessor: "a", From: "127.0.0.1:1", Method: "PUT", Path: "/v1/kv/x", Status: 200})
	a.Note(skerry.Act{Time: at.Add(2 * time.Hour), From: "127.0.0.1:1", Method: "PUT", Path: "/v1/kv/y", Status: 403, Reason: "ACL not found"})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	b, err := os.ReadFile(filepath.Join(dir, "log", "audit.json"))
	if err != nil || len(files) != 2 || strings.Count(string(b), "\n") != 1 || !strings.Contains(string(b), `"path":"/v1/kv/y","status":403,"reason":"ACL not found"}`) {
		t.Errorf("%v, %v: %s", err, files, b)
	}
}

func TestIdentifyingAllocatesNothing(t *testing.T) {
	g := NewGate(open(t, nil), must(NewAgentTokens(map[string]string{RecoveryToken: "towel"}, ""))(t))
	for _, secret := range []string{"", rootSecret} {
		if n := testing.AllocsPerRun(100, func() { g.Identify(secret) }); n > 0 {
			t.Errorf("%q: %v allocations", secret, n)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	kv := replicatest.NewMemory()
	s, err := New(Options{KV: kv, InitialManagement: rootSecret, Defaults: rules.Strict})
	if err != nil || s.Init(b.Context()) != nil {
		b.Fatal(err)
	}
	g := NewGate(s, nil)
	b.ReportAllocs()
	for b.Loop() {
		g.Identify(rootSecret)
	}
}

// A selector of a binding rule is bounded like every filter.
func TestHostileSelectors(t *testing.T) {
	m := &skerry.AuthMethod{Name: "m", Type: "shape"}
	s := &Store{o: Options{Verifiers: map[string]Verifier{"shape": shapely{}}}}
	for name, selector := range map[string]string{
		"parentheses": strings.Repeat("(", 300_000), "nots": strings.Repeat("not ", 255_000) + "value.a == b", "pairs": strings.Repeat("(", 65) + "value.a == b" + strings.Repeat(")", 65),
	} {
		err := s.checkBinding(&skerry.BindingRule{Method: "m", BindType: "service", BindName: "web", Selector: selector}, m)
		if skerry.KindOf(err) != skerry.Invalid || len(err.Error()) > 300 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	if selects(strings.Repeat("(", 300_000), shapely{}.Shape(m).Fields) {
		t.Error("a selector that an older version kept holds")
	}
}

type shapely struct{ Verifier }

func (shapely) Shape(*skerry.AuthMethod) Verified {
	return Verified{Fields: struct {
		Value map[string]string `bexpr:"value"`
	}{map[string]string{"a": "b"}}}
}
