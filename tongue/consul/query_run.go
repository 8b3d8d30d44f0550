package consul

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
)

// narrowedQueries is narrowed for the list of queries.
func (q *request) narrowedQueries() *scene {
	if !q.hides() || q.who.AllowsBelow(skerry.ResourceQuery, "", skerry.AccessRead) {
		return nil
	}
	queries := q.t.b.Queries
	return &scene{
		name:  "queries",
		at:    queries.ChangedQueries,
		watch: queries.WatchQueries,
		look: func(who skerry.Identity, s *sight) {
			all, _, err := queries.Queries()
			if err != nil {
				return // it is refused when it is answered
			}
			for _, one := range all {
				if (one.Name != "" || one.Template.Type != "") && who.Allows(skerry.ResourceQuery, one.Name, skerry.AccessRead) {
					s.add(one.Modified, one.ID)
				}
			}
		},
	}
}

// hiddenQuery reports whether there is a query of this ID or name that the asker is
// not to know of.
func (q *request) hiddenQuery(nameOrID string) bool {
	if !q.hides() {
		return false
	}
	one, err := q.t.b.Queries.ResolveQuery(nameOrID)
	return err == nil && !q.seesQuery(one)
}

// readMeta sets the headers too. The verbs do not block: their index says nothing.
func (q *request) readMeta() readMeta {
	q.meta(1)
	m := readMeta{Index: 1, KnownLeader: true, ConsistencyLevel: "leader"}
	switch {
	case q.p.stale:
		m.ConsistencyLevel = "stale"
	case q.p.consistent:
		m.ConsistencyLevel = "consistent"
	}
	return m
}

func (q *request) queryExecute(name string) error {
	ask := skerry.QueryAsk{Near: q.p.near, Agent: q.t.cfg.NodeName, Source: q.source()}
	if err := q.p.query(); err != nil {
		return q.bare(err)
	}
	if limit := q.p.get("limit"); limit != "" {
		var err error
		if ask.Limit, err = strconv.Atoi(limit); err != nil {
			return q.bare(serverError("Bad limit: " + err.Error()))
		}
	}
	if text := q.p.get("connect"); text != "" {
		var err error
		if ask.Connect, err = strconv.ParseBool(text); err != nil {
			return q.bare(badRequest(fmt.Sprintf("Invalid value for ?connect: %q is neither true nor false", text)))
		}
	}
	if q.hiddenQuery(name) {
		return notFoundError("Query not found")
	}
	if q.hides() {
		ask.Knows = q.seesNode
	}
	r, err := q.t.b.Queries.ExecuteQuery(name, ask)
	if err != nil {
		return err
	}
	if err := q.executeAs(r); err != nil {
		return err
	}
	out := struct {
		Service    string
		Nodes      []jsonEntry
		DNS        queryDNS
		Datacenter string
		PeerName   string
		Failovers  int
		readMeta
	}{
		r.Query.Service.Service, make([]jsonEntry, len(r.Entries)), queryDNS{r.Query.TTL},
		cmp.Or(r.Datacenter, q.t.cfg.Datacenter), "", r.Failovers, q.readMeta(),
	}
	for i, e := range r.Entries {
		out.Nodes[i] = entryJSON(e)
	}
	if q.p.cached {
		q.cached()
	}
	if q.hides() {
		r.View = q.view(r.View.Service)
	}
	q.cause(r.View, len(r.Entries), q.emptied(r.View, r.Pipeline))
	return q.json(out)
}

// executeAs leaves out what may not be seen by the query's own token, or by the
// asker where the query has none.
func (q *request) executeAs(r *skerry.QueryResult) error {
	if q.who == nil {
		return nil
	}
	if r.Query.Token != "" {
		who, err := q.t.b.Gate.Identify(r.Query.Token)
		if err != nil {
			return err
		}
		q.who = who
	}
	r.Entries = visible(q, r.Entries, q.allowed().Keep)
	return nil
}

func (q *request) queryExplain(name string) error {
	if err := q.p.query(); err != nil {
		return q.bare(err)
	}
	if q.hiddenQuery(name) {
		return notFoundError("Query not found")
	}
	query, err := q.t.b.Queries.ResolveQuery(name)
	if err != nil {
		return err
	}
	if !q.seesQuery(query) {
		return &statusError{http.StatusForbidden, "Permission denied"}
	}
	return q.json(struct {
		Query storedQuery
		readMeta
	}{q.shownQuery(query), q.readMeta()})
}

// source is the asker's address: the first that a proxy names, else the peer's.
func (q *request) source() netip.Addr {
	host, _, _ := strings.Cut(q.r.Header.Get("X-Forwarded-For"), ",")
	if host = strings.TrimSpace(host); host == "" {
		host, _, _ = net.SplitHostPort(q.r.RemoteAddr)
	}
	ip, _ := netip.ParseAddr(host)
	return ip
}
