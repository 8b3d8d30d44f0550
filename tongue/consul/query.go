package consul

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// queryJSON is a definition, in requests and in answers.
type queryJSON struct {
	ID       string
	Name     string
	Session  string
	Token    string
	Template queryTemplate
	Service  queryService
	DNS      queryDNS
}

type queryTemplate struct {
	Type            string
	Regexp          string
	RemoveEmptyTags bool
}

type queryService struct {
	Service        string
	SamenessGroup  string
	Failover       queryFailover
	OnlyPassing    bool
	IgnoreCheckIDs []string
	Near           string
	Tags           []string
	NodeMeta       map[string]string
	ServiceMeta    map[string]string
	Connect        bool
	Peer           string
}

type queryFailover struct {
	NearestN    int
	Datacenters []string
	Targets     []queryTarget
}

type queryTarget struct {
	Peer       string
	Datacenter string
}

type queryDNS struct{ TTL string }

// storedQuery is a definition in an answer.
type storedQuery struct {
	queryJSON
	CreateIndex uint64
	ModifyIndex uint64
}

func (b *queryJSON) query() skerry.PreparedQuery {
	s, f := &b.Service, &b.Service.Failover
	q := skerry.PreparedQuery{
		ID: b.ID, Name: b.Name, Session: b.Session, Token: b.Token, Template: skerry.QueryTemplate(b.Template), TTL: b.DNS.TTL,
		Service: skerry.ServiceQuery{
			Service: s.Service, Peer: s.Peer, Near: s.Near, OnlyPassing: s.OnlyPassing, IgnoreCheckIDs: s.IgnoreCheckIDs,
			Tags: s.Tags, NodeMeta: s.NodeMeta, ServiceMeta: s.ServiceMeta, Connect: s.Connect,
			Failover: skerry.QueryFailover{NearestN: f.NearestN, Datacenters: f.Datacenters},
		},
	}
	for _, t := range f.Targets {
		q.Service.Failover.Targets = append(q.Service.Failover.Targets, skerry.FailoverTarget(t))
	}
	return q
}

func jsonQuery(q *skerry.PreparedQuery) storedQuery {
	s, f := &q.Service, &q.Service.Failover
	out := storedQuery{CreateIndex: q.Created, ModifyIndex: q.Modified}
	out.ID, out.Name, out.Session, out.Token, out.Template, out.DNS.TTL = q.ID, q.Name, q.Session, q.Token, queryTemplate(q.Template), q.TTL
	out.Service = queryService{
		Service: s.Service, Peer: s.Peer, Near: s.Near, OnlyPassing: s.OnlyPassing, IgnoreCheckIDs: s.IgnoreCheckIDs,
		Tags: s.Tags, NodeMeta: s.NodeMeta, ServiceMeta: s.ServiceMeta, Connect: s.Connect,
		Failover: queryFailover{NearestN: f.NearestN, Datacenters: f.Datacenters},
	}
	for _, t := range f.Targets {
		out.Service.Failover.Targets = append(out.Service.Failover.Targets, queryTarget(t))
	}
	return out
}

// queryAll serves /v1/query: the list, and the creation of a query.
func (q *request) queryAll() error {
	if q.r.Method == http.MethodPost {
		return q.queryCreate()
	}
	if err := q.queryReady(""); err != nil {
		return err
	}
	known := uint64(0)
	if sc := q.narrowedQueries(); sc != nil {
		known = q.indexOf(sc)
	}
	all, index, err := q.f.b.Queries.Queries()
	if err != nil {
		return err
	}
	if known != 0 {
		index = known
	}
	all = visible(q, all, q.seesQuery)
	out := make([]storedQuery, len(all))
	for i, one := range all {
		out[i] = q.shownQuery(one)
	}
	q.meta(index)
	return q.json(out)
}

// queryOne serves /v1/query/: a query by its ID, and its two verbs. It checks the
// methods itself: they differ, and so do Consul's answers to wrong ones.
func (q *request) queryOne() error {
	if name, ok := strings.CutSuffix(q.rest, "/execute"); ok {
		return q.queryRead(name, q.queryExecute)
	}
	if name, ok := strings.CutSuffix(q.rest, "/explain"); ok {
		return q.queryRead(name, q.queryExplain)
	}
	switch q.r.Method {
	case http.MethodGet:
		return q.queryGet()
	case http.MethodPut:
		return bare(q.queryUpdate())
	case http.MethodDelete:
		return bare(q.queryDelete())
	case http.MethodOptions:
		q.allow()
		return q.json(struct{}{})
	}
	q.w.Header()["Allow"] = []string{strings.Join(q.route.methods, ",")}
	return q.wrongMethod()
}

func (q *request) wrongMethod() error {
	return bare(status(http.StatusMethodNotAllowed, "method "+q.r.Method+" not allowed"))
}

// queryRead serves a verb of a query, which only reads.
func (q *request) queryRead(name string, serve func(name string) error) error {
	if q.r.Method == http.MethodGet {
		return serve(name)
	}
	q.w.Header()["Allow"] = []string{"OPTIONS,GET"}
	if q.r.Method == http.MethodOptions {
		return q.json(struct{}{})
	}
	return q.wrongMethod()
}

func (q *request) queryBody() (skerry.PreparedQuery, error) {
	var b storedQuery
	if err := q.readJSON(&b); err != nil {
		var typed *json.UnmarshalTypeError
		if errors.As(err, &typed) && typed.Field == "" {
			// Clients see these words; the type's name is Consul's.
			err = errors.New("json: cannot unmarshal " + typed.Value + " into Go value of type structs.PreparedQuery")
		}
		return skerry.PreparedQuery{}, wire.DecodeError(err)
	}
	if b.Service.SamenessGroup != "" {
		return skerry.PreparedQuery{}, badRequest("Invalid service query: SamenessGroup is a Consul Enterprise feature")
	}
	return b.query(), nil
}

// queryError returns a refusal in Consul's words. Consul finds errors that depend on the
// store only when it applies the change.
func queryError(err error) error {
	var e *skerry.Error
	if !errors.As(err, &e) || e.Kind != skerry.Invalid {
		return err
	}
	switch e.Subject {
	case "":
		return serverError(e.Message)
	case "definition":
		return serverError("Invalid prepared query: " + e.Message)
	}
	return serverError("raft apply failed: " + e.Message)
}

func (q *request) queryCreate() error {
	query, err := q.queryBody()
	if err != nil {
		return bare(err)
	}
	if err := q.mustQuery(&query); err != nil {
		return bare(err)
	}
	if q.hiddenSession(query.Session) {
		return bare(serverError(invalidSession(query.Session)))
	}
	id, err := q.f.b.Queries.CreateQuery(q.r.Context(), query)
	if err != nil {
		return bare(queryError(err))
	}
	return q.json(struct{ ID string }{id})
}

func (q *request) queryUpdate() error {
	query, err := q.queryBody()
	if err != nil {
		return err
	}
	query.ID = q.rest
	if err := q.mustStored(q.rest); err != nil {
		return err
	}
	if err := q.mustQuery(&query); err != nil {
		return err
	}
	if q.hiddenSession(query.Session) {
		return serverError(invalidSession(query.Session))
	}
	if err := q.f.b.Queries.UpdateQuery(q.r.Context(), query); err != nil {
		return queryError(err)
	}
	q.empty()
	return nil
}

func (q *request) queryDelete() error {
	if err := q.mustStored(q.rest); err != nil {
		return err
	}
	if err := q.f.b.Queries.DeleteQuery(q.r.Context(), q.rest); err != nil {
		return queryError(err)
	}
	q.empty()
	return nil
}

func (q *request) queryGet() error {
	if len(q.rest) != 36 {
		return serverError("failed prepared query lookup: index error: UUID must be 36 characters")
	}
	if err := q.queryReady(q.rest); err != nil {
		return err
	}
	query, index, err := q.f.b.Queries.Query(q.rest)
	if err != nil {
		return err
	}
	if query == nil || q.hides() && !q.seesQuery(query) {
		return notFoundError("Query not found")
	}
	if !q.seesQuery(query) {
		return status(http.StatusForbidden, "Permission denied")
	}
	q.meta(index)
	return q.json([]storedQuery{q.shownQuery(query)})
}

// seesQuery reports whether the caller may see a query. A query without a name is visible
// to callers that know its ID, which only its creator does. It is only in lists of callers
// that may read all.
func (q *request) seesQuery(one *skerry.PreparedQuery) bool {
	if one.Name == "" && one.Template.Type == "" && q.rest == "" {
		return q.who == nil || q.who.AllowsBelow(skerry.ResourceQuery, "", skerry.AccessRead)
	}
	return one.Name == "" && one.Template.Type == "" || q.may(skerry.ResourceQuery, one.Name, skerry.AccessRead)
}

// shownQuery returns a query for an answer. It hides the query's token from callers that
// may not write the query.
func (q *request) shownQuery(one *skerry.PreparedQuery) storedQuery {
	out := jsonQuery(one)
	if out.Token != "" && !q.may(skerry.ResourceQuery, one.Name, skerry.AccessWrite) {
		out.Token = hidden
	}
	return out
}

// mustQuery requires write access to the name of a query. The ID of a query without a
// name is a secret of its own.
func (q *request) mustQuery(one *skerry.PreparedQuery) error {
	if one.Name == "" && one.Template.Type == "" {
		return nil
	}
	return q.must(skerry.ResourceQuery, one.Name, skerry.AccessWrite)
}

// mustStored is mustQuery for the query that has this ID now, if there is one.
func (q *request) mustStored(id string) error {
	if q.who == nil {
		return nil
	}
	was, _, err := q.f.b.Queries.Query(id)
	if err != nil { // it may have had any name
		return q.mustBelow(skerry.ResourceQuery, "", skerry.AccessWrite)
	}
	if was == nil {
		return nil
	}
	if q.hides() && !q.seesQuery(was) {
		return serverError("Cannot modify non-existent prepared query: '" + id + "'")
	}
	return q.mustQuery(was)
}

// queryReady waits until the answer about a query, or about all, is due and may be given.
func (q *request) queryReady(id string) error {
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	queries, have := q.f.b.Queries, q.p.index
	if err := q.synced(); err != nil {
		return err
	}
	if have == 0 {
		return nil
	}
	if sc := q.narrowedQueries(); sc != nil && id == "" {
		return q.blockOn(sc)
	}
	if was, _, err := queries.Query(id); err == nil && was != nil && q.hides() && !q.seesQuery(was) {
		return nil // as for one that does not exist
	}
	return q.await(func() (bool, <-chan struct{}) {
		index, changed := queries.WatchQueries()
		if id != "" {
			query, own, _ := queries.Query(id)
			return query == nil || own > have, changed
		}
		return index > have, changed
	}, q.unwatch())
}
