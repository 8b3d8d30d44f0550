package consul

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// Every endpoint that is answered by a datacenter refuses one that is not known, in the
// same way, before it does anything; the others do not mind ?dc=.
func TestDatacenterOfEveryRoute(t *testing.T) {
	const unknown = "No path to datacenter"
	front, err := New(Config{}, Backend{Self: skerry.Self{Datacenter: "dc1"}}, NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range routes {
		r := &routes[i]
		if r.at != byDatacenter {
			continue
		}
		for _, method := range r.methods {
			path := r.path
			if strings.HasSuffix(path, "/") {
				path += "x"
			}
			w := httptest.NewRecorder()
			front.ServeHTTP(w, httptest.NewRequest(method, path+"?dc=nowhere", strings.NewReader("{}")))
			if w.Code != http.StatusInternalServerError || w.Body.String() != unknown {
				t.Errorf("%s %s?dc=nowhere: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
}

// fewTokens is a store of tokens with a local one.
type fewTokens struct{ ACL }

func (fewTokens) Token(accessor string) *skerry.Token {
	return map[string]*skerry.Token{"local": {Local: true}, "copied": {}}[accessor]
}

func (fewTokens) TokenBySecret(secret string) *skerry.Token {
	return map[string]*skerry.Token{"local": {Local: true}, "copied": {}}[secret]
}

// Requests for the primary datacenter are refused while it is not reached, whoever asks, and no others are.
func TestThePrimaryDatacenterIsAway(t *testing.T) {
	for _, copies := range []bool{false, true} {
		front, err := New(Config{}, Backend{
			Self: skerry.Self{Datacenter: "dc2"}, ACL: fewTokens{}, Primary: &Primary{Datacenter: "dc1", Tokens: copies},
		}, NewMetrics(prometheus.NewRegistry()))
		if err != nil {
			t.Fatal(err)
		}
		for request, away := range map[string]bool{
			"PUT /v1/acl/policy {}": true, "PUT /v1/acl/policy/x {}": true, "DELETE /v1/acl/policy/x": true, "GET /v1/acl/policy/x": false, "GET /v1/acl/policies": false,
			"PUT /v1/acl/role?dc=dc2 {}": true, "PUT /v1/acl/role/x {}": true, "DELETE /v1/acl/role/x": true, "GET /v1/acl/role/x": false, "GET /v1/acl/role/name/x": false,
			"PUT /v1/acl/token {}": true, `PUT /v1/acl/token {"Local":true}`: false, "PUT /v1/acl/token nothing": false,
			"PUT /v1/acl/token/x {}": true, `PUT /v1/acl/token/x {"local":true}`: false, "PUT /v1/acl/token/local {}": false, "PUT /v1/acl/token/copied {}": true,
			"PUT /v1/acl/token/local/clone {}": false, "PUT /v1/acl/token/copied/clone {}": true, "DELETE /v1/acl/token/local": false, "DELETE /v1/acl/token/copied": true,
			"GET /v1/acl/token/local": false, "GET /v1/acl/token/copied": !copies, "GET /v1/acl/tokens": !copies,
			"GET /v1/acl/token/self?token=local": false, "GET /v1/acl/token/self?token=other": !copies, "PUT /v1/acl/bootstrap": false,
			"PUT /v1/acl/auth-method {}": false, "GET /v1/acl/replication": false,
		} {
			parts := append(strings.SplitN(request, " ", 3), "")
			w := httptest.NewRecorder()
			front.ServeHTTP(w, httptest.NewRequest(parts[0], parts[1], strings.NewReader(parts[2])))
			if got := w.Code == http.StatusInternalServerError && w.Body.String() == "No path to datacenter"; got != away {
				t.Errorf("copies %v, %s: %d %s", copies, request, w.Code, w.Body)
			}
		}
	}
}
