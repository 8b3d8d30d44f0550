package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestMetricFilter(t *testing.T) {
	const http, index, runtime = "skerry_http_request_duration_seconds", "skerry_catalog_index", "go_goroutines"
	tests := []struct {
		name  string
		f     MetricFilter
		shown []string
	}{
		{"none", MetricFilter{}, []string{http, index, runtime}},
		{"the bare prefix", MetricFilter{Rules: []string{"-http"}}, []string{index, runtime}},
		{"our prefix", MetricFilter{Rules: []string{"-skerry_http"}}, []string{index, runtime}},
		{"Consul's prefix", MetricFilter{Rules: []string{"-consul.http"}}, []string{index, runtime}},
		{"all of ours", MetricFilter{Rules: []string{"-skerry_"}}, []string{runtime}},
		{"all of Consul's", MetricFilter{Rules: []string{"-consul"}}, []string{runtime}},
		{"the longest decides", MetricFilter{Rules: []string{"+consul.http.request", "-skerry_http", "-go"}}, []string{http, index}},
		{"equal ones hide", MetricFilter{Rules: []string{"-catalog", "+skerry_catalog"}}, []string{http, runtime}},
		{"nothing else", MetricFilter{Rules: []string{"+catalog.index"}, HideOthers: true}, []string{index}},
		{"nothing at all", MetricFilter{HideOthers: true}, nil},
	}
	for _, tt := range tests {
		var got []string
		for _, name := range []string{http, index, runtime} {
			if tt.f.shows(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != strings.Join(tt.shown, " ") {
			t.Errorf("%s: shows %v, want %v", tt.name, got, tt.shown)
		}
	}
}

func TestFilteredMetricsAreServed(t *testing.T) {
	cfg := Config{HTTP: []string{"127.0.0.1:0"}, Shown: MetricFilter{Rules: []string{"+catalog"}, HideOthers: true}}
	s := running(t, cfg, func() (Config, error) { return completed(Config{}), nil })
	read := func(path string) string {
		resp, err := http.Get("http://" + s.Addrs.HTTP[0] + path)
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
