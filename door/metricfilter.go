package door

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// MetricFilter selects metrics by name. The zero value selects all.
type MetricFilter struct {
	// Rules are "+prefix" to show and "-prefix" to hide. The longest prefix of a
	// name decides; of two equal ones, the one that hides. Dots and underscores are
	// one, and a name's own "skerry_" may be left out, or be written "consul.":
	// "-http" and "-consul.http" hide skerry_http_request_duration_seconds.
	Rules []string
	// HideOthers hides metrics that no rule names.
	HideOthers bool
}

func (f MetricFilter) shows(name string) bool {
	names := []string{name, strings.TrimPrefix(name, "skerry_")}
	shown, longest := !f.HideOthers, -1
	for _, rule := range f.Rules {
		prefix := strings.ReplaceAll(rule[1:], ".", "_")
		if prefix == "consul" || strings.HasPrefix(prefix, "consul_") {
			prefix = "skerry_" + strings.TrimPrefix(prefix[len("consul"):], "_")
		}
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) }) {
			continue
		}
		// With and without skerry_ a prefix is equally long.
		n := len(strings.TrimPrefix(prefix, "skerry_"))
		if n > longest || n == longest && rule[0] == '-' {
			shown, longest = rule[0] == '+', n
		}
	}
	return shown
}

// Shown gathers the metrics that a filter selects. The filter can be replaced while it is
// in use.
type Shown struct {
	all    prometheus.Gatherer
	filter atomic.Pointer[MetricFilter]
}

// NewShown returns a gatherer of all metrics: call Set to filter them.
func NewShown(all prometheus.Gatherer) *Shown {
	m := &Shown{all: all}
	m.Set(MetricFilter{})
	return m
}

// Set replaces the filter.
func (m *Shown) Set(f MetricFilter) { m.filter.Store(&f) }

// Gather implements [prometheus.Gatherer].
func (m *Shown) Gather() ([]*dto.MetricFamily, error) {
	families, err := m.all.Gather()
	f := m.filter.Load()
	return slices.DeleteFunc(families, func(family *dto.MetricFamily) bool { return !f.shows(family.GetName()) }), err
}
