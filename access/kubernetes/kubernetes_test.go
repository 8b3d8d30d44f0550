package kubernetes_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/kubernetes"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

const ours = "a.b.c"

// apiServer answers as an API server does: reviews for who may ask, accounts by
// name, and its own refusals in its own form.
func apiServer(t *testing.T) *httptest.Server {
	refuse := func(w http.ResponseWriter, status int, reason string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+ours {
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		var asked struct {
			APIVersion, Kind string
			Spec             struct{ Token string }
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Kind != "TokenReview" || asked.APIVersion != "authentication.k8s.io/v1" {
			refuse(w, http.StatusBadRequest, "BadRequest")
			return
		}
		status := map[string]any{"authenticated": false, "error": "[invalid bearer token, service account token has been invalidated]"}
		user, known := map[string]string{"pod": "system:serviceaccount:shop:web", "renamed": "system:serviceaccount:shop:renamed", "human": "jane", "gone": "system:serviceaccount:shop:gone"}[asked.Spec.Token]
		if known {
			status = map[string]any{"authenticated": true, "user": map[string]any{"username": user, "uid": "u-1", "groups": []string{"system:serviceaccounts"}}}
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": map[string]string{"token": asked.Spec.Token}, "status": status})
	})
	mux.HandleFunc("GET /api/v1/namespaces/shop/serviceaccounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		meta := map[string]any{"name": r.PathValue("name"), "namespace": "shop", "uid": "u-1"}
		switch r.PathValue("name") {
		case "gone":
			refuse(w, http.StatusNotFound, "NotFound")
			return
		case "renamed":
			meta["annotations"] = map[string]string{"consul.hashicorp.com/service-name": "checkout"}
		}
		json.NewEncoder(w).Encode(map[string]any{"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta})
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func method(s *httptest.Server, jwt string) skerry.AuthMethod {
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return skerry.AuthMethod{Name: "k8s", Type: "kubernetes", Locality: "global", Config: map[string]any{"Host": s.URL, "CACert": ca, "ServiceAccountJWT": jwt}}
}

func TestLogin(t *testing.T) {
	server := apiServer(t)
	s, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1", Verifiers: map[string]access.Verifier{"kubernetes": kubernetes.New()}})
	if err != nil || s.Init(t.Context()) != nil {
		t.Fatal(err)
	}
	if _, err := s.PutMethod(t.Context(), method(server, ours), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutBinding(t.Context(), skerry.BindingRule{Method: "k8s", BindType: "service", BindName: "${serviceaccount.name}", Selector: `serviceaccount.namespace == "shop"`}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		bearer, service string
		kind            skerry.Kind
		fault           string
	}{
		{bearer: "pod", service: "web"},
		{bearer: "renamed", service: "checkout"},
		{bearer: "forged", kind: skerry.Denied, fault: "not valid"},
		{bearer: "human", kind: skerry.Denied, fault: "not of a service account"},
		{bearer: "gone", kind: skerry.Unavailable, fault: "annotation lookup failed: 404"},
	} {
		got, err := s.Login(t.Context(), "k8s", tc.bearer, nil)
		if tc.fault != "" {
			if skerry.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%s: %v", tc.bearer, err)
			}
		} else if err != nil || got.Local || len(got.Services) != 1 || got.Services[0].Service != tc.service {
			t.Errorf("%s: %+v, %v", tc.bearer, got, err)
		}
	}
	if _, err := s.PutMethod(t.Context(), method(server, "no.longer.x"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), "k8s", "pod", nil); skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a token that the API server refuses: %v", err)
	}
}

func TestCheck(t *testing.T) {
	good := method(apiServer(t), ours).Config
	for _, tc := range []struct {
		name, value, fault string
	}{
		{"Host", "", "Host is required"}, {"Host", "10.0.0.1", "is not an address"}, {"CACert", "", "CACert is required"}, {"CACert", "x", "no PEM"},
		{"ServiceAccountJWT", "", "is required"}, {"ServiceAccountJWT", "x", "not a valid JWT"}, {"Other", "x", "unknown field"},
	} {
		config := map[string]any{}
		for k, v := range good {
			config[k] = v
		}
		config[tc.name] = tc.value
		err := kubernetes.New().Check(&skerry.AuthMethod{Config: config})
		if skerry.KindOf(err) != skerry.Invalid || !strings.Contains(err.Error(), tc.fault) {
			t.Errorf("%v, want %s", err, tc.fault)
		}
	}
}
