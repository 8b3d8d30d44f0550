package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// A server that is revoked while it runs loses its connections to the others: its place in the quorum store, its routes of the bus, and its
// services.
func TestARevokedServerIsCutOff(t *testing.T) {
	t.Parallel()
	s := startSecured(t, 3, nil)
	all := s.all
	all[0].voters(3)
	all[2].register(`{"ID": "own-1", "Name": "own", "Port": 80}`)
	for _, a := range all {
		a.finds("own", "own-1")
		a.routes(2)
	}
	all[0].ok("DELETE", "/v1/skerry/joined/s3", "")
	all[0].voters(2)
	for _, a := range all[:2] {
		a.routes(1)
		a.finds("own")
	}
	all[2].routes(0)
	all[1].register(`{"ID": "web-1", "Name": "web", "Port": 81}`)
	for i, a := range all[:2] {
		a.finds("web", "web-1")
		if r := a.ok("PUT", fmt.Sprint("/v1/kv/k", i), "v"); r.body != "true" {
			t.Errorf("a key at %d: %s", i, r.body)
		}
	}
	if r := all[2].request("GET", "/v1/kv/k0?consistent", ""); r.status == 200 {
		t.Errorf("the revoked server reads a key: %s", r.body)
	}
	if r := all[2].request("GET", "/v1/health/service/web", ""); strings.Contains(r.body, "web-1") {
		t.Errorf("the revoked server learns of a service: %s", r.body)
	}
}

// routes waits until a server has so many routes of the bus.
func (a *agent) routes(n int) {
	a.t.Helper()
	await(a.t, fmt.Sprintf("%d routes", n), func() error {
		r := a.ok("GET", "/metrics", "")
		if !strings.Contains(r.body, fmt.Sprintf("\nskerry_bus_routes %d\n", n)) {
			_, rest, _ := strings.Cut(r.body, "\nskerry_bus_routes ")
			return fmt.Errorf("there are %.3s", rest)
		}
		return nil
	})
}
