package door

import (
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
