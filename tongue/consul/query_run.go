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
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// narrowedQueries is narrowed for the list of queries.
func (q *request) narrowedQueries() *scene {
	if !q.hides() || q.who.AllowsBelow(skerry.ResourceQuery, "", skerry.AccessRead) {
		return nil
	}
	queries := q.f.b.Queries
	return &scene{
		name:  "queries",
		at:    queries.ChangedQueries,
		watch: queries.WatchQueries,
		look: func(who skerry.Identity, s *sight) {
			all, _, err := queries.Queries()
			if err != nil {
				return // the answer is a refusal
			}
			for _, one := range all {
				if (one.Name != "" || one.Template.Type != "") && who.Allows(skerry.ResourceQuery, one.Name, skerry.AccessRead) {
					s.add(one.Modified, one.ID)
				}
			}
		},
	}
}

// hiddenQuery reports whether a query of this ID or name exists and is hidden from the
// caller.
func (q *request) hiddenQuery(nameOrID string) bool {
	if !q.hides() {
		return false
	}
	one, err := q.f.b.Queries.ResolveQuery(nameOrID)
	return err == nil && !q.seesQuery(one)
}

// readMeta returns the fields for a verb's answer and sets its headers. The verbs do not
// block, so their index has no meaning.
func (q *request) readMeta() wire.ReadMeta {
	q.meta(1)
	return wire.ReadMeta{Index: 1, KnownLeader: q.knowsLeader(), ConsistencyLevel: q.consistency()[0]}
}

func (q *request) queryExecute(name string) error {
	ask := skerry.QueryAsk{Near: q.p.near, Agent: q.agentNode(), Source: q.source()}
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	if err := q.caughtUp(); err != nil {
		return err
	}
	if limit := q.p.get("limit"); limit != "" {
		var err error
		if ask.Limit, err = strconv.Atoi(limit); err != nil {
			return bare(serverError("Bad limit: " + err.Error()))
		}
	}
	if text := q.p.get("connect"); text != "" {
		var err error
		if ask.Connect, err = strconv.ParseBool(text); err != nil {
			return bare(badRequest(fmt.Sprintf("Invalid value for ?connect: %q is neither true nor false", text)))
		}
	}
	if q.hiddenQuery(name) {
		return notFoundError("Query not found")
	}
	if q.hides() {
		ask.Knows = q.seesNode
	}
	r, err := q.f.b.Queries.ExecuteQuery(name, ask)
	if err != nil {
		return err
	}
	if err := q.executeAs(r); err != nil {
		return err
	}
	out := struct {
		Service    string
		Nodes      []wire.Entry
		DNS        queryDNS
		Datacenter string
		PeerName   string
		Failovers  int
		wire.ReadMeta
	}{
		r.Query.Service.Service, make([]wire.Entry, len(r.Entries)), queryDNS{r.Query.TTL},
		cmp.Or(r.Datacenter, q.f.b.Self.Datacenter), "", r.Failovers, q.readMeta(),
	}
	for i, e := range r.Entries {
		out.Nodes[i] = wire.EntryOf(e)
	}
	if q.p.cached {
		q.cached()
	}
	if q.hides() {
		v, err := q.view(r.View.Service)
		if err != nil {
			return err
		}
		r.View = v
	}
	q.cause(r.View, len(r.Entries), q.emptied(r.View, r.Pipeline))
	return q.json(out)
}

// executeAs drops entries that the query's own token may not see, or the caller if the
// query has none.
func (q *request) executeAs(r *skerry.QueryResult) error {
	if q.who == nil {
		return nil
	}
	if r.Query.Token != "" {
		who, err := q.f.b.Gate.Identify(r.Query.Token)
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
		return bare(err)
	}
	if q.hiddenQuery(name) {
		return notFoundError("Query not found")
	}
	query, err := q.f.b.Queries.ResolveQuery(name)
	if err != nil {
		return err
	}
	if !q.seesQuery(query) {
		return status(http.StatusForbidden, "Permission denied")
	}
	return q.json(struct {
		Query storedQuery
		wire.ReadMeta
	}{q.shownQuery(query), q.readMeta()})
}

// source returns the caller's address: the first that a proxy names, else the peer's.
func (q *request) source() netip.Addr {
	host, _, _ := strings.Cut(q.r.Header.Get("X-Forwarded-For"), ",")
	if host = strings.TrimSpace(host); host == "" {
		host, _, _ = net.SplitHostPort(q.r.RemoteAddr)
	}
	ip, _ := netip.ParseAddr(host)
	return ip
}
