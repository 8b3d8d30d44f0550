package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// nodesServer is a server with a node for each name that nodes returns.
func nodesServer(t *testing.T, nodes func() []string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := "[]"
		switch r.URL.Path {
		case "/v1/catalog/services":
			body = "{}"
		case "/v1/catalog/nodes":
			var all []string
			for _, name := range nodes() {
				all = append(all, `{"Node": "`+name+`", "Address": "10.0.0.1"}`)
			}
			body = "[" + strings.Join(all, ",") + "]"
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestCatalogDiff(t *testing.T) {
	var asked atomic.Int64
	one := nodesServer(t, func() []string { return []string{"a", "b"} })
	other := nodesServer(t, func() []string { return []string{"b", "c"} })
	late := nodesServer(t, func() []string {
		if asked.Add(1) < 3 {
			return nil
		}
		return []string{"a", "b"}
	})
	for _, tt := range []struct {
		arguments string
		code      int
		stdout    string
	}{
		{"-server " + one + " -server " + one, 0, "equal: nodes: 2, services: 0, instances: 0, checks: 0\n"},
		{"-server " + one + " -server " + other + " -wait 0", 2, "node a: only at " + one + "\nnode c: only at " + other + "\n"},
		{"-server " + one + " -server " + late + " -wait 10m", 0, "equal: nodes: 2, services: 0, instances: 0, checks: 0\n"},
		{"-server " + one, 2, ""},
		{"-server " + one + " -server 127.0.0.1:1", 1, ""},
	} {
		code, stdout, stderr := command(t.Context(), t, strings.Fields("catalog diff "+tt.arguments)...)
		if code != tt.code || stdout != tt.stdout {
			t.Errorf("%s: %d %q %s, want %d %q", tt.arguments, code, stdout, stderr, tt.code, tt.stdout)
		}
	}
}
