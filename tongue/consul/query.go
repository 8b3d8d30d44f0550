package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/skerryhq/skerry"
)

// Queries are the prepared queries.
type Queries interface {
	// SyncQueries waits until reads see all that was acknowledged before.
	SyncQueries(ctx context.Context) error
	CreateQuery(ctx context.Context, q skerry.PreparedQuery) (id string, err error)
	UpdateQuery(ctx context.Context, q skerry.PreparedQuery) error
	DeleteQuery(ctx context.Context, id string) error
	// Query returns a query and the index of its last change; nil when there is none.
	Query(id string) (*skerry.PreparedQuery, uint64, error)
	// Queries returns all, with the index of the last change to any.
	Queries() ([]*skerry.PreparedQuery, uint64, error)
	WatchQueries() (uint64, <-chan struct{})
	// ChangedQueries is WatchQueries's index alone.
	ChangedQueries() uint64
	// ResolveQuery and ExecuteQuery take an ID or a name; their error is of kind
	// NotFound when nothing answers for it.
	ResolveQuery(nameOrID string) (*skerry.PreparedQuery, error)
	ExecuteQuery(nameOrID string, ask skerry.QueryAsk) (*skerry.QueryResult, error)
}

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

// queryAll serves /v1/query: the list, and what makes a new query.
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
	all, index, err := q.t.b.Queries.Queries()
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

// queryOne serves /v1/query/: a query by its ID, and its two verbs. It judges the
// methods itself: they differ, and so do Consul's answers to the wrong ones.
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
		return q.bare(q.queryUpdate())
	case http.MethodDelete:
		return q.bare(q.queryDelete())
	case http.MethodOptions:
		q.allow()
		return q.json(struct{}{})
	}
	q.w.Header()["Allow"] = []string{strings.Join(q.route.methods, ",")}
	return q.wrongMethod()
}

func (q *request) wrongMethod() error {
	return q.bare(&statusError{http.StatusMethodNotAllowed, "method " + q.r.Method + " not allowed"})
}

// queryRead serves a verb of a query, which is only ever read.
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
		return skerry.PreparedQuery{}, decodeError(err)
	}
	if b.Service.SamenessGroup != "" {
		return skerry.PreparedQuery{}, badRequest("Invalid service query: SamenessGroup is a Consul Enterprise feature")
	}
	return b.query(), nil
}

// queryError words a refusal as Consul does: what only the store can judge, it
// finds when it applies the change.
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
		return q.bare(err)
	}
	if err := q.mustQuery(&query); err != nil {
		return q.bare(err)
	}
	if q.hiddenSession(query.Session) {
		return q.bare(serverError(invalidSession(query.Session)))
	}
	id, err := q.t.b.Queries.CreateQuery(q.r.Context(), query)
	if err != nil {
		return q.bare(queryError(err))
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
	if err := q.t.b.Queries.UpdateQuery(q.r.Context(), query); err != nil {
		return queryError(err)
	}
	q.empty()
	return nil
}

func (q *request) queryDelete() error {
	if err := q.mustStored(q.rest); err != nil {
		return err
	}
	if err := q.t.b.Queries.DeleteQuery(q.r.Context(), q.rest); err != nil {
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
	query, index, err := q.t.b.Queries.Query(q.rest)
	if err != nil {
		return err
	}
	if query == nil || q.hides() && !q.seesQuery(query) {
		return notFoundError("Query not found")
	}
	if !q.seesQuery(query) {
		return &statusError{http.StatusForbidden, "Permission denied"}
	}
	q.meta(index)
	return q.json([]storedQuery{q.shownQuery(query)})
}

// seesQuery: a query without a name is seen by who knows its ID, which only its
// maker does, and is in nobody's list but that of who may read all.
func (q *request) seesQuery(one *skerry.PreparedQuery) bool {
	if one.Name == "" && one.Template.Type == "" && q.rest == "" {
		return q.who == nil || q.who.AllowsBelow(skerry.ResourceQuery, "", skerry.AccessRead)
	}
	return one.Name == "" && one.Template.Type == "" || q.may(skerry.ResourceQuery, one.Name, skerry.AccessRead)
}

// shownQuery hides the token that a query runs with from who may not write it.
func (q *request) shownQuery(one *skerry.PreparedQuery) storedQuery {
	out := jsonQuery(one)
	if out.Token != "" && !q.may(skerry.ResourceQuery, one.Name, skerry.AccessWrite) {
		out.Token = hidden
	}
	return out
}

// mustQuery asks for the name of a query that is to be written. One without a
// name is a secret of its own.
func (q *request) mustQuery(one *skerry.PreparedQuery) error {
	if one.Name == "" && one.Template.Type == "" {
		return nil
	}
	return q.must(skerry.ResourceQuery, one.Name, skerry.AccessWrite)
}

// mustStored asks for the query that has this ID now, if there is one.
func (q *request) mustStored(id string) error {
	if q.who == nil {
		return nil
	}
	was, _, err := q.t.b.Queries.Query(id)
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
		return q.bare(err)
	}
	queries, have := q.t.b.Queries, q.p.index
	if !q.p.stale && !q.resumed {
		if err := queries.SyncQueries(q.r.Context()); err != nil {
			return err
		}
	}
	if have == 0 {
		return nil
	}
	if sc := q.narrowedQueries(); sc != nil && id == "" {
		return q.blockOn(sc)
	}
	if was, _, err := queries.Query(id); err == nil && was != nil && q.hides() && !q.seesQuery(was) {
		return nil // as for one that is not there
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
