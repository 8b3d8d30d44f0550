package deploy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/kubeapi"
)

// collections is where objects of a kind are made.
var collections = map[string]string{
	"Namespace":          "/api/v1/namespaces",
	"ServiceAccount":     "/api/v1/namespaces/skerry/serviceaccounts",
	"ConfigMap":          "/api/v1/namespaces/skerry/configmaps",
	"Service":            "/api/v1/namespaces/skerry/services",
	"Deployment":         "/apis/apps/v1/namespaces/skerry/deployments",
	"StatefulSet":        "/apis/apps/v1/namespaces/skerry/statefulsets",
	"DaemonSet":          "/apis/apps/v1/namespaces/skerry/daemonsets",
	"NetworkPolicy":      "/apis/networking.k8s.io/v1/namespaces/skerry/networkpolicies",
	"Role":               "/apis/rbac.authorization.k8s.io/v1/namespaces/skerry/roles",
	"RoleBinding":        "/apis/rbac.authorization.k8s.io/v1/namespaces/skerry/rolebindings",
	"ClusterRole":        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
	"ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}

// A real API server takes all files, strictly, and the rights are those that are meant.
func TestServer(t *testing.T) {
	s := kubeapi.Start(t)
	documents := documents(t)
	make := func(d document, parameters string) {
		t.Helper()
		path, ok := collections[d.kind.Kind]
		if !ok {
			t.Fatalf("%s: where are objects of the kind %s made?", d.file, d.kind.Kind)
		}
		s.Do("POST", path+"?fieldValidation=Strict"+parameters, d.yaml, nil)
	}
	for _, d := range documents {
		if d.file == "namespace.yaml" {
			make(d, "")
		}
	}
	s.Do("POST", "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": "other"}}, nil)
	for _, d := range documents {
		if d.file != "namespace.yaml" {
			make(d, "&dryRun=All")
		}
	}
	for _, d := range documents {
		if d.file == "rbac.yaml" {
			make(d, "")
		}
	}
	token := s.Token("skerry", "skerry-client")
	rights(t, s, token, "skerry")
	for _, d := range documents {
		if d.file == "rbac-cluster.yaml" {
			make(d, "")
		}
	}
	rights(t, s, token, "skerry", "other")
}

// rights holds an account to reading EndpointSlices in some namespaces, and to nothing
// else that anybody who is authenticated may not do.
func rights(t *testing.T, s *kubeapi.Server, token string, namespaces ...string) {
	t.Helper()
	may := map[string]bool{}
	for _, n := range namespaces {
		may[n] = true
	}
	for _, n := range []string{"skerry", "other"} {
		slices := "/apis/discovery.k8s.io/v1/namespaces/" + n + "/endpointslices"
		for path, allowed := range map[string]bool{
			slices:                                   may[n],
			slices + "?watch=1&timeoutSeconds=1":     may[n],
			"/api/v1/namespaces/" + n + "/endpoints": false,
			"/api/v1/namespaces/" + n + "/pods":      false,
			"/api/v1/namespaces/" + n + "/secrets":   false,
		} {
			code, body := s.Ask(token, "GET", path, nil)
			if allowed && code != http.StatusOK || !allowed && code != http.StatusForbidden {
				t.Errorf("GET %s: %d %s, want it allowed: %v", path, code, body, allowed)
			}
		}
		slice := map[string]any{"metadata": map[string]any{"name": "x"}, "addressType": "IPv4", "endpoints": []any{}}
		for method, path := range map[string]string{"POST": slices, "DELETE": slices + "/x"} {
			if code, body := s.Ask(token, method, path, slice); code != http.StatusForbidden {
				t.Errorf("%s %s: %d %s, want it forbidden", method, path, code, body)
			}
		}
		// The server's own list of what the account may do.
		code, body := s.Ask(token, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", map[string]any{"spec": map[string]any{"namespace": n}})
		var review struct {
			Status struct {
				ResourceRules []struct{ Verbs, APIGroups, Resources []string }
			}
		}
		if err := json.Unmarshal(body, &review); err != nil || code != http.StatusCreated {
			t.Fatalf("%d %s: %v", code, body, err)
		}
		for _, r := range review.Status.ResourceRules {
			group := strings.Join(r.APIGroups, ",")
			if group == "authorization.k8s.io" || group == "authentication.k8s.io" {
				continue // everybody's: questions about oneself
			}
			if !may[n] || group != "discovery.k8s.io" || strings.Join(r.Resources, ",") != "endpointslices" || strings.Join(r.Verbs, ",") != "get,list,watch" {
				t.Errorf("in %s it may %v", n, r)
			}
		}
	}
}
