package query

import (
	"context"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// errNotFound has the words of Consul's error.
var errNotFound = skerry.Errorf(skerry.NotFound, "Query not found")

// ResolveQuery returns the query that has the ID or name, or the template that answers
// for the name, with its parts filled in. The error is of kind NotFound when there is
// neither.
func (q *Store) ResolveQuery(nameOrID string) (*skerry.PreparedQuery, error) {
	c, err := q.now().find(nameOrID)
	if err != nil {
		return nil, err
	}
	query, _ := c.resolve(nameOrID)
	return query, nil
}

// QueriesBeneath reports whether a query's name ends with a dot and name. The names of
// templates do not count.
func (q *Store) QueriesBeneath(name string) bool { return q.now().parents[strings.ToLower(name)] }

// ExecuteQuery answers the query that has the ID or name.
func (q *Store) ExecuteQuery(nameOrID string, ask skerry.QueryAsk) (*skerry.QueryResult, error) {
	c, err := q.now().find(nameOrID)
	if err != nil {
		return nil, err
	}
	query, pipeline := c.resolve(nameOrID)
	if ask.Connect && !query.Service.Connect {
		pipeline = append(skerry.Pipeline{meshOnly}, pipeline...)
	}
	out := &skerry.QueryResult{
		Query: query, Pipeline: pipeline, TTL: c.ttl, HasTTL: query.TTL != "",
		View: q.catalog.Service(query.Service.Service),
	}
	out.Entries = pipeline.Select(out.View.Entries)
	if len(out.Entries) > 0 || !q.failOver(out) {
		q.order(out, ask)
	}
	if ask.Limit > 0 && len(out.Entries) > ask.Limit {
		out.Entries = out.Entries[:ask.Limit]
	}
	return out, nil
}

// elsewhereWithin bounds the wait for the services of another datacenter.
const elsewhereWithin = 2 * time.Second

// failOver takes the entries of the first other datacenter that has any, and reports whether one was asked. Those that are not known are passed over
// and do not count.
func (q *Store) failOver(r *skerry.QueryResult) bool {
	if q.others == nil {
		return false
	}
	for _, name := range q.failovers(&r.Query.Service.Failover) {
		there := q.others.In(name)
		if there == nil {
			continue
		}
		r.Failovers++
		r.Datacenter = name
		ctx, cancel := context.WithTimeout(context.Background(), elsewhereWithin)
		view, _, err := there.Service(ctx, r.Query.Service.Service)
		cancel()
		if err != nil {
			q.log.Warn("a prepared query does not get the services of another datacenter", "datacenter", name, "service", r.Query.Service.Service, "error", err)
			continue
		}
		if r.View, r.Entries = view, slices.Clone(r.Pipeline.Select(view.Entries)); len(r.Entries) > 0 {
			break
		}
	}
	shuffle(r.Entries) // distances are those of this datacenter's nodes
	return r.Failovers > 0
}

// failovers returns the datacenters to ask, in their order, each once.
func (q *Store) failovers(f *skerry.QueryFailover) (names []string) {
	add := func(name string) {
		if name = skerry.Fold(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, t := range f.Targets {
		add(t.Datacenter)
	}
	if f.NearestN > 0 {
		all := q.others.Datacenters()
		for _, dc := range all[:min(f.NearestN, len(all))] {
			add(dc.Name)
		}
	}
	for _, name := range f.Datacenters {
		add(name)
	}
	return names
}

func shuffle(list []*skerry.Entry) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// order shuffles the entries. When ask or the query names a node to be near, order then
// puts the nearest first.
func (q *Store) order(r *skerry.QueryResult, ask skerry.QueryAsk) {
	r.Entries = slices.Clone(r.Entries)
	shuffle(r.Entries)
	near := ask.Near
	if near == "" {
		near = r.Query.Service.Near
	}
	switch near {
	case skerry.NearAgent:
		near = ask.Agent
	case skerry.NearSource:
		near = q.nodeAt(ask.Source)
	}
	if near == "" || q.catalog.Node(near) == nil || ask.Knows != nil && !ask.Knows(near) {
		return
	}
	r.Nearest = true
	far := q.from(near)
	r.Entries = skerry.SortNear(r.Entries, func(e *skerry.Entry) float64 {
		switch {
		case skerry.SameName(e.Node.Name, near):
			return math.Inf(-1) // the node itself is the nearest
		case far == nil:
			return math.Inf(1)
		}
		return far(e.Node.Name)
	})
}

// nodeAt returns the name of the node that has an address, or an empty string.
func (q *Store) nodeAt(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	for _, o := range q.catalog.Lookup(ip.Unmap().String()) {
		if o.Instance == nil {
			return o.Node.Name
		}
	}
	return ""
}

// pipelineOf returns the stages that select a query's instances.
func pipelineOf(s *skerry.ServiceQuery) skerry.Pipeline {
	var p skerry.Pipeline
	if s.Connect || s.Peer != "" {
		p = append(p, meshOnly)
	}
	if len(s.IgnoreCheckIDs) > 0 {
		p = append(p, healthWithout(s.IgnoreCheckIDs, s.OnlyPassing))
	} else if s.OnlyPassing {
		p = append(p, skerry.NotInMaintenance(), skerry.Passes())
	} else {
		p = append(p, skerry.NotInMaintenance(), skerry.NotCritical())
	}
	var want, without []string
	for _, tag := range s.Tags {
		if t, not := strings.CutPrefix(tag, "!"); not {
			without = append(without, t)
		} else {
			want = append(want, tag)
		}
	}
	if len(want) > 0 {
		p = append(p, skerry.HasTags(want))
	}
	if len(without) > 0 {
		p = append(p, lacksTags(without))
	}
	if len(s.NodeMeta) > 0 {
		p = append(p, skerry.HasNodeMeta(s.NodeMeta))
	}
	if len(s.ServiceMeta) > 0 {
		p = append(p, hasServiceMeta(s.ServiceMeta))
	}
	return p
}

// meshOnly drops all instances: none is reached through a mesh, and no peer is known.
var meshOnly = skerry.Stage{
	Name: "mesh",
	Keep: func(*skerry.Entry) bool { return false },
	Why:  func(*skerry.Entry) string { return "the query asks for instances of a mesh or a peer; there are none" },
}

// healthWithout drops instances with a critical check that is not ignored. With
// onlyPassing it drops those with any check that neither passes nor is ignored.
func healthWithout(ignored []string, onlyPassing bool) skerry.Stage {
	counts := func(c *skerry.Check) bool {
		return (c.Status == skerry.Critical || onlyPassing && c.Status != skerry.Passing) && !slices.Contains(ignored, c.ID)
	}
	return skerry.Stage{
		Name: "health", Health: true,
		Keep: func(e *skerry.Entry) bool { return !slices.ContainsFunc(e.Checks, counts) },
		Why: func(e *skerry.Entry) string {
			c := e.Checks[slices.IndexFunc(e.Checks, counts)]
			return "check " + c.ID + " is " + string(c.Status) + " and not ignored: " + c.Output
		},
	}
}

// lacksTags drops instances that have any of the tags, in any case.
func lacksTags(tags []string) skerry.Stage {
	unwanted := func(e *skerry.Entry) int {
		return slices.IndexFunc(e.Instance.Tags, func(have string) bool {
			return slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(have, t) })
		})
	}
	return skerry.Stage{
		Name: "tag",
		Keep: func(e *skerry.Entry) bool { return unwanted(e) < 0 },
		Why:  func(e *skerry.Entry) string { return "it has the tag \"" + e.Instance.Tags[unwanted(e)] + "\"" },
	}
}

// hasServiceMeta drops instances that lack any of the pairs.
func hasServiceMeta(want map[string]string) skerry.Stage {
	return skerry.Stage{
		Name: "service-meta",
		Keep: func(e *skerry.Entry) bool {
			for k, v := range want {
				if got, ok := e.Instance.Meta[k]; !ok || got != v {
					return false
				}
			}
			return true
		},
		Why: func(e *skerry.Entry) string { return "instance " + e.Instance.ID + " lacks the asked-for metadata" },
	}
}
