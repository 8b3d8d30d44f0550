package kubernetes

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
	"github.com/skerryhq/skerry/test/kubeapi"
)

const (
	slicesPath = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"
	rbacPath   = "/apis/rbac.authorization.k8s.io/v1/namespaces/prod"
)

// granted makes an account that may read some resources, and returns a source that uses it.
func granted(t *testing.T, s *kubeapi.Server, account, group, resource string) *Source {
	t.Helper()
	named := map[string]any{"name": account}
	s.Do("POST", "/api/v1/namespaces/prod/serviceaccounts", map[string]any{"metadata": named}, nil)
	s.Do("POST", rbacPath+"/roles", map[string]any{"metadata": named, "rules": []any{
		map[string]any{"apiGroups": []string{group}, "resources": []string{resource}, "verbs": []string{"get", "list", "watch"}},
	}}, nil)
	s.Do("POST", rbacPath+"/rolebindings", map[string]any{
		"metadata": named,
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": "prod"}},
	}, nil)
	source, err := client.OpenSource("k8s:///?kubeconfig=" + s.Kubeconfig(s.Token("prod", account), "prod"))
	if err != nil {
		t.Fatal(err)
	}
	return source.(*Source)
}

// webSlice is an EndpointSlice of pods from..to-1, after which come others.
func webSlice(name string, from, to int, others ...any) map[string]any {
	var pods []any
	for n := from; n < to; n++ {
		pods = append(pods, pod(fmt.Sprintf("p%03d", n), fmt.Sprintf("10.0.%d.%d", n/200, n%200+1), "ready=true"))
	}
	o := eps(append(pods, others...)...)
	o["metadata"].(map[string]any)["name"] = name
	return o
}

// told waits for an update that is as wanted, and returns it with all who left until then.
func told(t *testing.T, tell <-chan sourcetest.Told, what string, want func(sourcetest.Told) bool) (sourcetest.Told, int) {
	t.Helper()
	var last sourcetest.Told
	left := 0
	for deadline := time.After(within); ; {
		select {
		case last = <-tell:
			left += len(last.Left)
			if want(last) {
				return last, left
			}
		case <-deadline:
			t.Fatalf("waited in vain for %s; told last: %d instances, %v", what, len(last.Instances), last.Err)
		}
	}
}

func instances(n int) func(sourcetest.Told) bool {
	return func(u sourcetest.Told) bool { return u.Err == nil && len(u.Instances) == n }
}

// With a real API server: 250 pods in three slices, what may happen to them and to the
// server, and what an account may not read. The list is never empty.
func TestReal(t *testing.T) {
	s := kubeapi.Start(t)
	s.Do("POST", "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": "prod"}}, nil)
	s.Do("POST", "/api/v1/namespaces/prod/services", map[string]any{"metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"ports": []any{map[string]any{"name": "http", "port": 80}}}}, nil)
	source := granted(t, s, "reader", "discovery.k8s.io", "endpointslices")
	tell := sourcetest.Watch(t, source, "web:http")
	told(t, tell, "an empty list", instances(0))
	s.Do("POST", slicesPath, webSlice("web-1", 0, 100), nil)
	s.Do("POST", slicesPath, webSlice("web-2", 100, 200), nil)
	s.Do("POST", slicesPath, webSlice("web-3", 200, 250), nil)
	told(t, tell, "250 pods", instances(250))

	c := client.New(source, client.WithCacheDir(""))
	defer c.Close()
	list := func(what string, want func(client.Snapshot) bool) {
		t.Helper()
		sourcetest.Await(t, c, "web:http", within, what, want)
	}
	list("250 pods", func(s client.Snapshot) bool { return len(s.Instances) == 250 })
	var fewest atomic.Int64
	fewest.Store(250)
	go func() {
		for s := range c.Watch(t.Context(), "web:http") {
			fewest.Store(min(fewest.Load(), int64(len(s.Instances))))
		}
	}()

	// Ten pods are removed, one is terminating and still serves, one is not ready.
	s.Do("PUT", slicesPath+"/web-3", webSlice("web-3", 212, 250,
		pod("p210", "10.0.1.11", "ready=false,serving=true,terminating=true"), pod("p211", "10.0.1.12", "ready=false,serving=false,terminating=false")), nil)
	u, left := told(t, tell, "the change of a slice", instances(239))
	if left != 10 || !u.Instances[200].Draining || u.Instances[200].ID != "p210" {
		t.Errorf("%d left; %+v", left, u.Instances[200])
	}
	s.Do("DELETE", slicesPath+"/web-1", nil, nil)
	if _, left := told(t, tell, "a slice less", instances(139)); left != 100 {
		t.Errorf("%d left with a slice", left)
	}
	list("139 pods", func(s client.Snapshot) bool { return len(s.Instances) == 139 && s.Freshness == client.Live })
	restarts(t, s, tell, list)
	if n := fewest.Load(); n < 138 {
		t.Errorf("the list had %d instances in between", n)
	}
	rights(t, s)
}

// restarts kills the server, lets its history be forgotten, and starts it again.
func restarts(t *testing.T, s *kubeapi.Server, tell <-chan sourcetest.Told, list func(string, func(client.Snapshot) bool)) {
	var before struct {
		Metadata struct{ ResourceVersion string }
	}
	s.Do("PUT", slicesPath+"/web-3", webSlice("web-3", 212, 250), nil)
	told(t, tell, "138 pods", instances(138))
	s.Do("GET", slicesPath, nil, &before)
	s.Kill()
	list("a dead server", func(s client.Snapshot) bool { return s.Freshness == client.Frozen && len(s.Instances) == 138 })
	s.Compact()
	s.Restart()
	list("the server again", func(s client.Snapshot) bool { return s.Freshness == client.Live && len(s.Instances) == 138 })
	var answer struct{ Code int }
	s.Do("GET", slicesPath+"?watch=1&timeoutSeconds=1&resourceVersion="+before.Metadata.ResourceVersion, nil, &struct {
		Object any `json:"object"`
	}{&answer})
	if answer.Code != http.StatusGone {
		t.Errorf("the server answers %d to a watch from the version before: the source was not asked to list again", answer.Code)
	}
	s.Do("POST", slicesPath, webSlice("web-1", 0, 100), nil)
	told(t, tell, "a slice more", instances(238))
}

// rights: who may read Endpoints only has these, and who may read neither is told so.
func rights(t *testing.T, s *kubeapi.Server) {
	s.Do("POST", "/api/v1/namespaces/prod/endpoints", map[string]any{"metadata": map[string]any{"name": "web"}, "subsets": []any{map[string]any{
		"addresses": []any{map[string]any{"ip": "10.0.0.1", "targetRef": map[string]any{"kind": "Pod", "name": "p000"}}, map[string]any{"ip": "10.0.0.2"}},
		"ports":     []any{map[string]any{"name": "http", "port": 8080}},
	}}}, nil)
	u, _ := told(t, sourcetest.Watch(t, granted(t, s, "older", "", "endpoints"), "web:http"), "endpoints", instances(2))
	if got := u.String(); got != "10.0.0.2:8080=10.0.0.2:8080 p000=10.0.0.1:8080" {
		t.Errorf("by Endpoints: %s", got)
	}
	source := granted(t, s, "nobody", "", "pods")
	tell := sourcetest.Watch(t, source, "web")
	u, _ = told(t, tell, "a refusal", func(u sourcetest.Told) bool { return u.Err != nil })
	if !strings.Contains(u.Err.Error(), "endpointslices is forbidden") && !strings.Contains(u.Err.Error(), "grant get, list and watch of endpointslices") {
		t.Errorf("a refusal says: %v", u.Err)
	}
	// It finds what is there as soon as it may.
	s.Do("PUT", rbacPath+"/roles/nobody", map[string]any{"metadata": map[string]any{"name": "nobody"}, "rules": []any{
		map[string]any{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": []string{"get", "list", "watch"}},
	}}, nil)
	told(t, tell, "the list that may be read now", instances(238))
}
