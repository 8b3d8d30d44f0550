package consul_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/test/inprocess"
)

// kept is a server whose quorum store can be reset, so that each input of a long run
// has the same state.
type kept struct {
	target
	archive string
}

func keep(f *testing.F, s target) kept {
	f.Helper()
	status, archive := s.do(f, "GET", "/v1/snapshot", "", "")
	if status != http.StatusOK {
		f.Fatalf("save: %d %s", status, archive)
	}
	return kept{s, archive}
}

// ready waits until the server's store answers.
func (s target) ready(f testing.TB) target {
	f.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if status, _ := s.do(f, "GET", "/v1/snapshot", "", ""); status == http.StatusOK {
			return s
		}
	}
	f.Fatal("the store did not come up")
	return s
}

// made makes something that inputs can name, and returns its ID.
func (s target) made(f *testing.F, path, body string) string {
	f.Helper()
	var made struct{ ID string }
	if status, text := s.do(f, "PUT", path, "", body); status != http.StatusOK || json.Unmarshal([]byte(text), &made) != nil {
		f.Fatalf("%s: %d %s", path, status, text)
	}
	return made.ID
}

func (k kept) restore(t *testing.T) {
	t.Helper()
	if status, text := k.do(t, "PUT", "/v1/snapshot", "", k.archive); status != http.StatusOK {
		t.Fatalf("restore: %d %s", status, text)
	}
}

// shows fails unless the paths are answered with JSON, if need be that there is nothing.
func (s target) shows(t *testing.T, after string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		path, query, _ := strings.Cut(path, "?")
		status, text := s.ask(t, "GET", path, query, "")
		if status != http.StatusNotFound && (status != http.StatusOK || !json.Valid([]byte(text))) {
			t.Errorf("after %q: GET %s: %d %q", after, path, status, text)
		}
	}
}

// seed adds inputs that lead near to those that are taken.
func seed(f *testing.F, endpoint int, body string) {
	f.Add(uint8(endpoint), body)
	f.Add(uint8(endpoint), strings.ToLower(body))
	f.Add(uint8(endpoint), body[:len(body)/2])
	f.Add(uint8(endpoint), "null")
	f.Add(uint8(endpoint), "[null]")
}

// decidedBodies are the endpoints of the quorum store that take JSON. "holder" is a
// session's ID.
var decidedBodies = []struct{ method, path, seed string }{
	{"PUT", "/v1/txn", `[{"KV": {"Verb": "set", "Key": "a", "Value": "YQ==", "Flags": 7}}, {"KV": {"Verb": "get-tree", "Key": ""}}, {"KV": {"Verb": "delete-tree", "Key": "b"}}]`},
	{"PUT", "/v1/txn", `[{"KV": {"Verb": "lock", "Key": "a", "Session": "holder"}}, {"KV": {"Verb": "check-session", "Key": "a", "Session": "holder"}}, {"KV": {"Verb": "cas", "Key": "b", "Index": 0}}, {"KV": {"Verb": "get-or-empty", "Key": "c"}}]`},
	{"PUT", "/v1/txn", `[{"Node": {"Verb": "set", "Node": {"ID": "11111111-2222-3333-4444-666666666666", "Node": "m", "Address": "10.0.0.1", "Meta": {"a": "b"}, "TaggedAddresses": {"lan": "x"}}}},
		{"Service": {"Verb": "set", "Node": "m", "Service": {"ID": "s", "Service": "web", "Port": 80, "Tags": ["t"]}}},
		{"Check": {"Verb": "cas", "Check": {"Node": "m", "CheckID": "c", "ServiceID": "s", "Status": "passing", "ModifyIndex": 0, "Definition": {"Interval": "1s"}}}}]`},
	{"PUT", "/v1/txn", `[{"Node": {"Verb": "delete", "Node": {"Node": "m"}}}, {"Service": {"Verb": "get", "Node": "n1", "Service": {"ID": "consul"}}}, {"Check": {"Verb": "delete", "Check": {"Node": "m", "CheckID": "c"}}}]`},
	{"PUT", "/v1/session/create", `{"Name": "s", "Node": "n1", "TTL": "30s", "LockDelay": "5s", "Behavior": "delete", "NodeChecks": ["serfHealth"], "ServiceChecks": [{"ID": "serfHealth", "Namespace": ""}]}`},
	{"PUT", "/v1/session/create", `{"LockDelay": 1e300, "Checks": []}`},
	{"POST", "/v1/query", `{"Name": "any", "Session": "holder", "Token": "t", "Service": {"Service": "consul", "OnlyPassing": true, "Near": "_agent", "Tags": ["!a", "b"], "NodeMeta": {"a": "b"}, "Failover": {"NearestN": 1, "Datacenters": ["dc2"]}}, "DNS": {"TTL": "10s"}}`},
	{"POST", "/v1/query", `{"Name": "a", "Template": {"Type": "name_prefix_match", "Regexp": "^a(.*)$", "RemoveEmptyTags": true}, "Service": {"Service": "${name.suffix}-${match(1)}", "Tags": ["${name.full}"]}}`},
}

func FuzzDecidedBodies(f *testing.F) {
	server := target{address: inprocess.Start(f)}.ready(f)
	holder := server.made(f, "/v1/session/create", `{"LockDelay": "0s"}`)
	s := keep(f, server)
	for i, b := range decidedBodies {
		seed(f, i, b.seed)
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, body string) {
		defer s.restore(t)
		to := decidedBodies[int(endpoint)%len(decidedBodies)]
		s.ask(t, to.method, to.path, "", strings.ReplaceAll(body, "holder", holder))
		s.shows(t, body, "/v1/kv/?recurse", "/v1/kv/?keys&separator=a", "/v1/session/list", "/v1/query", "/v1/query/any/execute", "/v1/query/abc/explain",
			"/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any", "/v1/health/service/web")
	})
}

func FuzzKeys(f *testing.F) {
	s := keep(f, target{address: inprocess.Start(f)}.ready(f))
	for _, q := range []string{
		"", "flags=7", "cas=0", "cas=1&flags=-1", "acquire=a", "release=", "acquire=a&cas=0", "raw", "recurse&keys&separator=/", "keys&separator=",
		"index=1&wait=1s&stale", "consistent&stale", "dc=dc1&pretty", "token=a&index=99999999999999999999", "recurse=false&cas=%zz", "flags=18446744073709551616",
	} {
		f.Add("a/b", q, "value")
		f.Add("/a//../b", q, "")
		f.Add("é \x00%2F", q, "\x00\xff")
	}
	f.Fuzz(func(t *testing.T, key, query, body string) {
		if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
			t.Skip("no client can send it")
		}
		defer s.restore(t)
		path := "/v1/kv/" + key
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			s.ask(t, method, path, query+"&wait=1ms", body)
		}
		status, text := s.ask(t, "PUT", path, "", body)
		if status != http.StatusOK {
			return
		}
		if text != "true" {
			t.Errorf("a plain write of %q: %s", key, text)
		}
		if status, got := s.ask(t, "GET", path, "raw", ""); status != http.StatusOK || got != body {
			t.Errorf("%q is %d %q, %q was written", key, status, got, body)
		}
		var keys []string
		if _, list := s.ask(t, "GET", path, "keys", ""); json.Unmarshal([]byte(list), &keys) != nil || len(keys) != 1 || utf8.ValidString(key) && keys[0] != key {
			t.Errorf("%q is listed as %s", key, list)
		}
		s.shows(t, key, "/v1/kv/?recurse")
	})
}

// internal counts what the front-end calls its own fault: with access control,
// much that is the client's is a 500 too.
type internal struct {
	slog.Handler
	failed *atomic.Int64
}

// Enabled implements [slog.Handler].
func (internal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

// Handle implements [slog.Handler].
func (i internal) Handle(context.Context, slog.Record) error {
	i.failed.Add(1)
	return nil
}

const management = "22222222-3333-4444-5555-666666666666"

// aclBodies are the endpoints of access control that take JSON. There are an auth
// method "m" and a role "r"; "PEM" is a public key.
var aclBodies = []struct{ method, path, seed string }{
	{"PUT", "/v1/acl/token", `{"AccessorID": "11111111-2222-3333-4444-777777777777", "SecretID": "11111111-2222-3333-4444-888888888888", "Description": "d", "Policies": [{"Name": "global-management"}], "Local": true, "ExpirationTTL": "1h"}`},
	{"PUT", "/v1/acl/token", `{"Roles": [{"Name": "r"}], "ServiceIdentities": [{"ServiceName": "web", "Datacenters": ["dc1"]}], "NodeIdentities": [{"NodeName": "n", "Datacenter": "dc1"}], "TemplatedPolicies": [{"TemplateName": "builtin/service", "TemplateVariables": {"Name": "api"}}]}`},
	{"PUT", "/v1/acl/policy", `{"Name": "p", "Description": "d", "Rules": "key_prefix \"a/\" { policy = \"write\" } service \"\" { policy = \"read\" }", "Datacenters": ["dc1"]}`},
	{"PUT", "/v1/acl/role", `{"Name": "r2", "Policies": [{"Name": "global-management"}], "ServiceIdentities": [{"ServiceName": "web"}]}`},
	{"PUT", "/v1/acl/auth-method", `{"Name": "m2", "Type": "jwt", "MaxTokenTTL": "1h", "TokenLocality": "local", "Config": {"JWTValidationPubKeys": ["PEM"], "BoundAudiences": ["a"], "ClaimMappings": {"a": "b"}, "ListClaimMappings": {}}}`},
	{"PUT", "/v1/acl/binding-rule", `{"AuthMethod": "m", "BindType": "service", "BindName": "${value.a}", "Selector": "value.a == \"b\""}`},
	{"POST", "/v1/acl/login", `{"AuthMethod": "m", "BearerToken": "e30.e30.e30", "Meta": {"a": "b"}}`},
	{"POST", "/v1/acl/templated-policy/preview/builtin/service", `{"Name": "api"}`},
	{"POST", "/v1/internal/acl/authorize", `[{"Resource": "key", "Segment": "a", "Access": "read"}]`},
	{"PUT", "/v1/agent/token/default", `{"Token": "t"}`},
}

// publicKey is one in PEM, as a JSON string.
func publicKey(f *testing.F) string {
	f.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		f.Fatal(err)
	}
	return string(text)
}

func FuzzACLBodies(f *testing.F) {
	failed := &atomic.Int64{}
	at := inprocess.StartWith(f, func(cfg *node.Config) {
		cfg.ACL = node.ACL{Enabled: true, Defaults: rules.Strict, InitialManagement: management}
		cfg.Consul.Log = slog.New(internal{slog.DiscardHandler, failed})
	})
	key := publicKey(f)
	server := target{address: at.HTTP[0], token: management}.ready(f)
	server.made(f, "/v1/acl/role", `{"Name": "r"}`)
	server.made(f, "/v1/acl/auth-method", `{"Name": "m", "Type": "jwt", "Config": {"JWTValidationPubKeys": [`+key+`], "ClaimMappings": {"a": "a"}}}`)
	s := keep(f, server)
	for i, b := range aclBodies {
		seed(f, i, b.seed)
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, body string) {
		if strings.Contains(strings.ToLower(body), "http") || strings.Contains(body, `\u`) {
			t.Skip("could reach out")
		}
		defer s.restore(t)
		to := aclBodies[int(endpoint)%len(aclBodies)]
		before := failed.Load()
		status, text := s.do(t, to.method, to.path, "", strings.ReplaceAll(body, `"PEM"`, key))
		if failed.Load() > before {
			t.Errorf("%s %s %q: %d %s", to.method, to.path, body, status, text)
		}
		s.shows(t, body, "/v1/acl/tokens", "/v1/acl/token/self", "/v1/acl/policies", "/v1/acl/roles", "/v1/acl/auth-methods", "/v1/acl/binding-rules")
	})
}
