package door

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skerryhq/skerry"
)

// API is an HTTP front-end that serves all paths but those of [Pages].
type API interface {
	http.Handler
	// Admits reports whether the caller may read the resource. If not, it has answered.
	Admits(w http.ResponseWriter, r *http.Request, resource skerry.Resource) bool
}

// Pages serves the metrics, the profiles where they are allowed, and an API.
type Pages struct {
	api      API
	metrics  http.Handler
	profiles bool
}

// NewPages returns a handler that serves metrics on /metrics, Go's profiles below
// /debug/pprof/ if profiles is set, and api on all other paths.
func NewPages(api API, metrics prometheus.Gatherer, profiles bool) *Pages {
	return &Pages{api: api, metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}), profiles: profiles}
}

// ServeHTTP implements [http.Handler].
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/v1/"):
		p.api.ServeHTTP(w, r)
	case path == "/metrics":
		if p.api.Admits(w, r, skerry.ResourceAgent) {
			p.metrics.ServeHTTP(w, r)
		}
	case p.profiles && strings.HasPrefix(path, "/debug/pprof/"):
		if p.api.Admits(w, r, skerry.ResourceOperator) {
			profile(strings.TrimPrefix(path, "/debug/pprof/"))(w, r)
		}
	default:
		p.api.ServeHTTP(w, r)
	}
}

func profile(name string) http.HandlerFunc {
	switch name {
	case "cmdline":
		return pprof.Cmdline
	case "profile":
		return pprof.Profile
	case "symbol":
		return pprof.Symbol
	case "trace":
		return pprof.Trace
	}
	return pprof.Index
}
