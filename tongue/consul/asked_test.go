package consul_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
	"github.com/skerryhq/skerry/tongue/consul"
)

// repeated is a front-end with access control, and requests to it that come more than once.
type repeated struct {
	t     *testing.T
	kv    *replicatest.Memory
	store *access.Store
	front *consul.Tongue
}

func newRepeated(t *testing.T) *repeated {
	kv := replicatest.NewMemory()
	s, err := access.New(access.Options{KV: kv, Datacenter: "dc1", InitialManagement: managementSecret, Defaults: rules.Strict})
	if err != nil || s.Init(t.Context()) != nil {
		t.Fatal(err)
	}
	table := catalog.New(catalog.Config{FirstIndex: 1})
	b := consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: table, Gate: access.NewGate(s, nil), ACL: s}
	front, err := consul.New(consul.Config{}, b, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	return &repeated{t, kv, s, front}
}

// send sends an attempt. later, if it is not nil, is asked in place of the store whether the request
// was made.
func (r *repeated) send(method, path, token, body string, again bool, later func(made func(context.Context) (bool, error)) func(context.Context) (bool, error)) *httptest.ResponseRecorder {
	attempt := once.Begin(0, "a secret", method, path, token)
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Consul-Token", token)
	a := consul.Asked{Node: "web1", Made: attempt.Made(r.kv)}
	if later != nil {
		a.Made = later(a.Made)
	}
	if again {
		a.Body, _ = io.ReadAll(req.Body)
	}
	req = consul.AskedAt(req.WithContext(once.With(req.Context(), attempt)), a)
	w := httptest.NewRecorder()
	r.front.ServeHTTP(w, req)
	return w
}

// token makes a token with every permission.
func (r *repeated) token() *skerry.Token {
	r.t.Helper()
	made, err := r.store.CreateToken(r.t.Context(), skerry.Token{Grants: skerry.Grants{Policies: []skerry.Link{{ID: skerry.GlobalManagement}}}}, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

// An attempt that comes later has the same status and the same body, to the byte.
func TestRepeatedRequestsHaveTheSameAnswer(t *testing.T) {
	const id = "cccccccc-0000-4000-8000-00000000000c"
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/acl/token", `{"Description": "made once"}`},
		{"PUT", "/v1/acl/token", `{"AccessorID": "` + id + `", "ExpirationTTL": "60s"}`},
		{"PUT", "/v1/acl/policy", `{"Name": "made", "Rules": "key \"a\" { policy = \"read\" }"}`},
		{"PUT", "/v1/acl/role", `{"Name": "made"}`},
		{"PUT", "/v1/acl/token/OWN/clone", `{"Description": "copy"}`},
		{"DELETE", "/v1/acl/token/OWN", ""}, // it removes the caller's own token
	} {
		r := newRepeated(t)
		own := r.token()
		path := strings.Replace(c.path, "OWN", own.Accessor, 1)
		first := r.send(c.method, path, own.Secret, c.body, false, nil)
		index := r.kv.Index()
		again := r.send(c.method, path, own.Secret, c.body, true, nil)
		if first.Code != http.StatusOK || again.Code != first.Code || again.Body.String() != first.Body.String() {
			t.Errorf("%s %s: %d %s, then %d %s", c.method, c.path, first.Code, first.Body, again.Code, again.Body)
		}
		if r.kv.Index() != index {
			t.Errorf("%s %s was made twice", c.method, c.path)
		}
	}
}

// Of two attempts at the same time, the second may fail because of the first.
func TestARequestThatIsMadeMeanwhile(t *testing.T) {
	r := newRepeated(t)
	own := r.token()
	asked := 0
	again := r.send("DELETE", "/v1/acl/token/"+own.Accessor, own.Secret, "", true, func(made func(context.Context) (bool, error)) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			if asked++; asked > 1 {
				return made(ctx)
			}
			was, err := made(ctx)
			if w := r.send("DELETE", "/v1/acl/token/"+own.Accessor, own.Secret, "", false, nil); w.Code != http.StatusOK {
				t.Errorf("the first attempt: %d %s", w.Code, w.Body)
			}
			return was, err
		}
	})
	if again.Code != http.StatusOK || strings.TrimSpace(again.Body.String()) != "true" || asked != 2 {
		t.Errorf("%d %s, asked %d times", again.Code, again.Body, asked)
	}
}

// A request that was not made is judged like any other, whatever its id says.
func TestARepeatedRequestNeedsItsToken(t *testing.T) {
	r := newRepeated(t)
	if w := r.send("PUT", "/v1/acl/policy", halfSecret, `{"Name": "made"}`, true, nil); w.Code != http.StatusForbidden {
		t.Errorf("with an unknown token: %d %s", w.Code, w.Body)
	}
	own := r.token()
	if w := r.send("PUT", "/v1/acl/policy", own.Secret, `{"Name": "made"}`, true, nil); w.Code != http.StatusOK {
		t.Errorf("the first attempt that comes: %d %s", w.Code, w.Body)
	}
	if w := r.send("PUT", "/v1/acl/policy", halfSecret, `{"Name": "made"}`, true, nil); w.Code != http.StatusForbidden {
		t.Errorf("the id with another token: %d %s", w.Code, w.Body)
	}
}

// passed notes how requests are passed on.
type passed map[string]bool

// Forward implements [consul.Forwarder].
func (n passed) Forward(_ http.ResponseWriter, r *http.Request, repeat bool) {
	n[r.Method+" "+r.URL.Path] = repeat
}

// An agent sends again only requests that servers make once.
func TestWhichRequestsMayBeRepeated(t *testing.T) {
	n := passed{}
	b := consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Forward: n}
	front, err := consul.New(consul.Config{}, b, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]bool{
		"PUT /v1/kv/a": true, "PUT /v1/txn": true, "PUT /v1/session/create": true, "PUT /v1/event/fire/e": true, "PUT /v1/acl/token": true, "PUT /v1/skerry/owner/o": true,
		"PUT /v1/snapshot": false, "DELETE /v1/operator/raft/peer": false, "PUT /v1/operator/raft/transfer-leader": false, "PUT /v1/skerry/guard/release": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
		if got, is := n[request]; !is || got != want {
			t.Errorf("%s: passed on %v, repeated %v", request, is, got)
		}
	}
}

// A request without a token that an agent passed on shows no token of its own, as where no agent is between.
func TestARequestWithoutATokenHasNone(t *testing.T) {
	r := newRepeated(t)
	for _, passed := range []bool{false, true} {
		req := httptest.NewRequest("GET", "/v1/acl/token/self?stale", nil)
		if passed {
			req = consul.AskedAt(req, consul.Asked{Node: "web1"})
		}
		w := httptest.NewRecorder()
		r.front.ServeHTTP(w, req)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "token does not exist") {
			t.Errorf("passed on %v: %d %s", passed, w.Code, w.Body)
		}
	}
}

// answers is servers that answer each request, and notes what was written before.
type answers struct{ before, written *int }

// Forward implements [consul.Forwarder].
func (a answers) Forward(w http.ResponseWriter, _ *http.Request, _ bool) {
	w.WriteHeader(http.StatusOK)
	*a.before = *a.written
}

// An agent hears of a change of services before its caller has the answer, and of nothing else.
func TestAnAgentNotesWhatItsCallersChange(t *testing.T) {
	var before, written int
	b := consul.Backend{Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Forward: answers{&before, &written}, Written: func() { written++ }}
	front, err := consul.New(consul.Config{}, b, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string]int{
		"PUT /v1/catalog/register": 1, "PUT /v1/catalog/deregister": 1, "PUT /v1/txn": 1, "PUT /v1/skerry/owner/o": 1, "PUT /v1/skerry/guard/release": 1, "PUT /v1/snapshot": 1,
		"PUT /v1/kv/a": 0, "GET /v1/snapshot": 0, "GET /v1/catalog/nodes": 0, "PUT /v1/session/create": 0,
	} {
		written, before = 0, -1
		method, path, _ := strings.Cut(request, " ")
		front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
		if before != want || written != want {
			t.Errorf("%s: %d changes were noted with the answer, want %d", request, before, want)
		}
	}
}
