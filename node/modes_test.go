package node

import (
	"net/http"
	"testing"

	"github.com/skerryhq/skerry/door"
)

// http_config.use_cache and discovery_max_stale show in the headers, and a reload
// changes them.
func TestReadModes(t *testing.T) {
	cfg := Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}}}
	other := completed(cfg)
	other.Consul.NoCache, other.Consul.StaleDiscovery = true, true
	s := running(t, cfg, func() (Config, error) { return other, nil })
	tests := []struct{ path, cache, reloadedCache, consistency, reloadedConsistency string }{
		{"/v1/health/service/web?cached", "MISS", "", "leader", "stale"},
		{"/v1/catalog/services?cached", "MISS", "", "leader", "stale"},
		{"/v1/catalog/nodes", "", "", "leader", "stale"},
		{"/v1/health/service/web?consistent", "", "", "consistent", "consistent"},
		{"/v1/health/state/any?stale", "", "", "stale", "stale"},
	}
	look := func(path, cache, consistency string) {
		t.Helper()
		resp, err := http.Get("http://" + s.Addrs().HTTP[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if got := h.Get("X-Cache"); got != cache {
			t.Errorf("%s: X-Cache %q, want %q", path, got, cache)
		}
		if got := h.Get("X-Consul-Effective-Consistency"); got != consistency || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, consistency %q, want %q", path, resp.Status, got, consistency)
		}
	}
	for _, tt := range tests {
		look(tt.path, tt.cache, tt.consistency)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		look(tt.path, tt.reloadedCache, tt.reloadedConsistency)
	}
}
