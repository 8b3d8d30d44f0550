package template

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
)

// Cause returns why the registry has no instance that a query of a template selects, in
// the words of the header X-Skerry-Empty-Cause: only "deregistered" is believed. "" means
// that the registry does not report it, or that there are instances. It returns when ctx
// ends.
type Cause func(ctx context.Context, of Query) string

// Query is a template's query for a service, beside its health.
type Query struct {
	Service    string
	Tag        string // "": any
	Datacenter string // "": the agent's
}

// recheck is how often a held list is asked about again.
const recheck = 5 * time.Second

// deregistered means that owners withdrew all instances: none is missing.
const deregistered = "deregistered"

// guard keeps lists that were good in place of ones that are suspiciously short,
// for a while. It looks at services, and at the lists of all services and all
// nodes, which are never empty while the registry is well. It is for one
// goroutine.
type guard struct {
	minimum int           // of instances of a service; 0: one, where there was one
	grace   time.Duration // how long a list is held; 0: the guard is off
	cause   Cause
	log     *slog.Logger

	sizes map[string]int   // by dependency: of the list that is rendered
	held  map[string]*hold // by dependency
	holds int              // how often a list was held
}

// hold is a list that is not rendered yet.
type hold struct {
	dependency dep.Dependency
	data       any
	size       int
	until      time.Time
}

func newGuard(o Options) *guard {
	return &guard{minimum: o.MinInstances, grace: o.Grace, cause: o.Cause, log: o.Log, sizes: map[string]int{}, held: map[string]*hold{}}
}

// size returns the length of a list that is guarded.
func size(data any) (n int, guarded bool) {
	switch list := data.(type) {
	case []*dep.HealthService:
		return len(list), true
	case []*dep.CatalogSnippet:
		return len(list), true
	case []*dep.Node:
		return len(list), true
	}
	return 0, false
}

// admits reports whether data may be rendered now; if not, it is kept. rendered means
// that there are older files, whose data is not known any more.
func (g *guard) admits(ctx context.Context, d dep.Dependency, data any, rendered bool) bool {
	n, guarded := size(data)
	if !guarded || g.grace <= 0 {
		return true
	}
	key := d.String()
	if !g.short(d, n, rendered) || g.withdrawn(ctx, d, n) {
		if g.held[key] != nil {
			delete(g.held, key)
			g.log.Info("the list is rendered again", "list", key, "size", n)
		}
		g.sizes[key] = n
		return true
	}
	if h := g.held[key]; h != nil {
		h.data, h.size = data, n
		return false
	}
	g.holds++
	g.held[key] = &hold{d, data, n, time.Now().Add(g.grace)}
	g.log.Warn("the list is too short to be true; the last rendering stays", "list", key, "size", n, "was", g.sizes[key], "for", g.grace)
	return false
}

// short reports whether a list of n is suspicious: it is below the minimum, and the
// rendered list is longer or not known.
func (g *guard) short(d dep.Dependency, n int, rendered bool) bool {
	minimum := 1
	if _, isService := service(d); isService {
		minimum = max(1, g.minimum)
	}
	before, known := g.sizes[d.String()]
	switch {
	case n >= minimum:
		return false
	case known:
		return n < before
	}
	return rendered || g.minimum > 0
}

// withdrawn reports whether a list is empty because its owners wanted it so.
func (g *guard) withdrawn(ctx context.Context, d dep.Dependency, n int) bool {
	s, isService := service(d)
	if n > 0 || !isService || g.cause == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return g.cause(ctx, s) == deregistered
}

// due fires when released is to be called; nil while nothing is held.
func (g *guard) due() <-chan time.Time {
	if len(g.held) == 0 {
		return nil
	}
	wait := recheck
	for _, h := range g.held {
		wait = min(wait, time.Until(h.until))
	}
	return time.After(wait)
}

// released returns the lists whose time is over, or that turned out to be true,
// and holds them no longer.
func (g *guard) released(ctx context.Context) (out []*hold) {
	for _, key := range slices.Sorted(maps.Keys(g.held)) {
		h := g.held[key]
		over := !time.Now().Before(h.until)
		if !over && !g.withdrawn(ctx, h.dependency, h.size) {
			continue
		}
		if over {
			g.log.Warn("the list stays too short; it is rendered as it is", "list", key, "size", h.size)
		} else {
			g.log.Info("the instances were withdrawn by their owners", "list", key)
		}
		delete(g.held, key)
		g.sizes[key] = h.size
		out = append(out, h)
	}
	return out
}

// forget ends the guard of a list that no template uses any more.
func (g *guard) forget(key string) {
	delete(g.sizes, key)
	delete(g.held, key)
}

// service understands the name that the library gives to a service it watches:
// health.service(TAG.NAME@DC~NEAR|FILTERS).
func service(d dep.Dependency) (q Query, ok bool) {
	s, ok := strings.CutPrefix(d.String(), "health.service(")
	if !ok {
		return q, false
	}
	s = strings.TrimSuffix(s, ")")
	s, _, _ = strings.Cut(s, "|")
	s, _, _ = strings.Cut(s, "~")
	name, rest, _ := strings.Cut(s, "@")
	datacenter, _, _ := strings.Cut(rest, "@")
	if !strings.Contains(datacenter, "=") { // else it is a partition, a peer
		q.Datacenter = datacenter
	}
	dot := strings.LastIndex(name, ".")
	q.Service = name[dot+1:]
	if dot > 0 {
		q.Tag = name[:dot]
	}
	return q, true
}
