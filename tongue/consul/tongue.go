// Package consul is the Consul HTTP front-end: it decodes requests, calls the root
// package's interfaces, and encodes answers as Consul 1.22 does. README.md describes it
// and links the lists of endpoints and of deliberate differences.
package consul

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// Tongue is the front-end: an http.Handler.
type Tongue struct {
	*front
	exact  map[string]*route
	prefix map[string]*route
}

// New returns the front-end, which counts its requests in m.
func New(cfg Config, b Backend, m *Metrics) (*Tongue, error) {
	f, err := newFront(cfg, b, m)
	if err != nil {
		return nil, err
	}
	t := &Tongue{front: f, exact: map[string]*route{}, prefix: map[string]*route{}}
	for i := range routes {
		r := &routes[i]
		if strings.HasSuffix(r.path, "/") {
			t.prefix[r.path] = r
		} else {
			t.exact[r.path] = r
		}
	}
	return t, nil
}

// NewMetrics returns the metrics of the front-end's endpoints, exported by reg.
func NewMetrics(reg prometheus.Registerer) *Metrics { return newMetrics(reg, routes) }

// ServeHTTP implements [http.Handler].
func (t *Tongue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if unprintable(path) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if to, ok := cleanPath(r.URL); !ok {
		redirect(w, r, to)
		return
	}
	rt, rest := t.find(path)
	if rt == nil || rt.exactly && !slices.Contains(rt.methods, r.Method) {
		t.notFound(w, r, path)
		return
	}
	if t.b.Forward != nil && rt.at != byAgent && rt.at != byFollower {
		started := time.Now()
		if rt.moves && r.Method != http.MethodGet && t.b.Written != nil {
			w = &told{ResponseWriter: w, written: t.b.Written}
		}
		t.b.Forward.Forward(w, r, !rt.single)
		t.m.observe(rt, time.Since(started))
		return
	}
	t.common(w.Header())
	started := time.Now()
	q := request{f: t.front, w: w, r: r, rest: rest, route: rt}
	q.audited(q.serve)
	t.m.observe(rt, time.Since(started))
}

// Changes reports whether a request may change something although it is a GET, as sent by
// old clients.
func (t *Tongue) Changes(r *http.Request) bool {
	if !t.cfg.LegacyAPI || r.Method != http.MethodGet {
		return false
	}
	rt, _ := t.find(r.URL.Path)
	return rt != nil && rt.legacyGet
}

// find returns the route of a path, and the rest of the path after a prefix route's.
func (t *Tongue) find(path string) (*route, string) {
	if rt := t.exact[path]; rt != nil {
		return rt, ""
	}
	for end := len(path); end > 0; {
		slash := strings.LastIndexByte(path[:end], '/')
		if slash < 0 {
			break
		}
		if rt := t.prefix[path[:slash+1]]; rt != nil {
			return rt, path[slash+1:]
		}
		end = slash
	}
	return nil, ""
}

func (t *Tongue) notFound(w http.ResponseWriter, r *http.Request, path string) {
	if t.prefix[path+"/"] != nil {
		redirect(w, r, r.URL.EscapedPath()+"/")
		return
	}
	text := "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
	if strings.HasPrefix(path, "/v1/") {
		text = "Invalid URL path: not a recognized HTTP API endpoint\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, text)
}

func unprintable(path string) bool {
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return true
		}
	}
	return false
}

// Admits reports whether a request to a handler outside of this front-end has a token
// with read access to the agent (resource "agent") or to the operator API. If not, it
// answers the request.
func (t *Tongue) Admits(w http.ResponseWriter, r *http.Request, of skerry.Resource) bool {
	q := request{f: t.front, w: w, r: r, route: &route{path: r.URL.Path}}
	name := ""
	if of == skerry.ResourceAgent {
		name = t.b.Self.Name
	}
	err := q.p.read(r)
	if err == nil {
		err = q.identify()
	}
	if err == nil {
		err = q.must(of, name, skerry.AccessRead)
	}
	if err != nil {
		t.common(w.Header())
		q.fail(err)
	}
	return err == nil
}
