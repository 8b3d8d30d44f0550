package compare_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/tool/compare"
)

// catalog is a server with these answers by path.
func catalog(t *testing.T, answers map[string]string) compare.Catalog {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			http.Error(w, "there is no "+r.URL.Path, http.StatusNotFound)
			return
		}
		if _, stale := r.URL.Query()["stale"]; !stale {
			t.Errorf("%s may be answered by another server", r.URL)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	c, err := api.NewClient(&api.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	out, err := compare.Read(t.Context(), c, api.QueryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDifferences(t *testing.T) {
	a := catalog(t, map[string]string{
		"/v1/catalog/nodes":           `[{"Node": "n1", "Address": "10.0.0.1", "CreateIndex": 1}, {"Node": "n2", "Address": "10.0.0.2"}]`,
		"/v1/catalog/services":        `{"web": ["v1"], "odd/one": []}`,
		"/v1/catalog/service/web":     `[{"Node": "n1", "ServiceID": "web", "ServicePort": 80, "ServiceTags": ["v1"], "ModifyIndex": 9}, {"Node": "n2", "ServiceID": "web"}]`,
		"/v1/catalog/service/odd/one": `[{"Node": "n1", "ServiceID": "odd"}]`,
		"/v1/health/state/any":        `[{"Node": "n1", "CheckID": "c", "Status": "passing"}]`,
	})
	b := catalog(t, map[string]string{
		"/v1/catalog/nodes":       `[{"Node": "n2", "Address": "10.0.0.2"}, {"Node": "n1", "Address": "10.0.0.9", "CreateIndex": 7}]`,
		"/v1/catalog/services":    `{"web": ["v1", "v2"], "db": []}`,
		"/v1/catalog/service/web": `[{"Node": "n1", "ServiceID": "web", "ServicePort": 81, "ServiceTags": ["v1"], "ModifyIndex": 3}]`,
		"/v1/catalog/service/db":  `[{"Node": "n1", "ServiceID": "db"}]`,
		"/v1/health/state/any":    `[{"Node": "n1", "CheckID": "c", "Status": "critical", "Output": "down"}]`,
	})
	if got := compare.Differences(a, a); got != nil {
		t.Errorf("a catalog differs from itself: %v", got)
	}
	node, web := compare.Key{Kind: compare.Node, ID: "n1"}, compare.Key{Kind: compare.Instance, ID: "n1/web"}
	check := compare.Key{Kind: compare.Check, ID: "n1/c"}
	want := []compare.Difference{
		{Key: node, Field: "Address", Value: [2]string{`"10.0.0.1"`, `"10.0.0.9"`}},
		{Key: compare.Key{Kind: compare.Service, ID: "db"}, Only: 2},
		{Key: compare.Key{Kind: compare.Service, ID: "odd/one"}, Only: 1},
		{Key: compare.Key{Kind: compare.Service, ID: "web"}, Field: "Tags", Value: [2]string{`["v1"]`, `["v1","v2"]`}},
		{Key: compare.Key{Kind: compare.Instance, ID: "n1/db"}, Only: 2},
		{Key: compare.Key{Kind: compare.Instance, ID: "n1/odd"}, Only: 1},
		{Key: web, Field: "ServicePort", Value: [2]string{"80", "81"}},
		{Key: compare.Key{Kind: compare.Instance, ID: "n2/web"}, Only: 1},
		{Key: check, Field: "Output", Value: [2]string{"", `"down"`}},
		{Key: check, Field: "Status", Value: [2]string{`"passing"`, `"critical"`}},
	}
	if got := compare.Differences(a, b); !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if got := a.Counts(); got != "nodes: 2, services: 2, instances: 3, checks: 1" {
		t.Errorf("the counts are %s", got)
	}
}
