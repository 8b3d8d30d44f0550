package node

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/door"
)

func TestFilteredMetricsAreServed(t *testing.T) {
	cfg := Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Shown: door.MetricFilter{Rules: []string{"+catalog"}, HideOthers: true}}
	s := running(t, cfg, func() (Config, error) { return completed(Config{}), nil })
	read := func(path string) string {
		resp, err := http.Get("http://" + s.Addrs().HTTP[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return string(body)
	}
	views := map[string][2]string{
		"/metrics":                            {"skerry_catalog_index", "skerry_journal_bytes"},
		"/v1/agent/metrics?format=prometheus": {"skerry_catalog_index", "skerry_journal_bytes"},
		"/v1/agent/metrics":                   {"skerry.catalog.index", "skerry.journal.bytes"},
	}
	for path, names := range views {
		if body := read(path); !strings.Contains(body, names[0]) || strings.Contains(body, names[1]) {
			t.Errorf("%s: want %s and not %s:\n%s", path, names[0], names[1], body)
		}
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for path, names := range views {
		if !strings.Contains(read(path), names[1]) {
			t.Errorf("%s: %s is not shown after a reload without filter", path, names[1])
		}
	}
}
