package decided

import (
	"bytes"
	"context"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
)

// The keys of prepared queries: the definitions, and what finds them. A name and
// a template's prefix are in lower case and lead to the query's ID.
const (
	queryPrefix         = "query/"
	queryNamePrefix     = "queryname/"
	queryTemplatePrefix = "querytemplate/"
	querySessionPrefix  = "querysession/" // querysession/<session>/<query>
)

// redacted stands for a token that its reader may not see.
const redacted = "<hidden>"

// Queries are the prepared queries.
type Queries struct {
	KV      skerry.KV
	Catalog skerry.Catalog
	// From returns the distance from a node to others in seconds, +Inf where it is
	// not known; nil when nothing is known of the node.
	From func(node string) func(to string) float64
	Log  *slog.Logger
	// Sealer keeps the tokens of queries. Without one there can be none.
	Sealer Sealer

	compiled compiler
}

// refused is the error about a definition: of what in it, "" for the whole.
func refused(subject, format string, args ...any) *skerry.Error {
	err := skerry.Errorf(skerry.Invalid, format, args...)
	err.Subject = subject
	return err
}

// The parts of a definition that an error can be about. The definition is judged
// on its own, the others by what is in the store.
const (
	ofDefinition = "definition"
	ofName       = "name"
	ofSession    = "session"
	ofTemplate   = "template"
)

// CreateQuery keeps a new query and returns its ID.
func (q *Queries) CreateQuery(ctx context.Context, query skerry.PreparedQuery) (string, error) {
	if query.ID != "" {
		return "", refused("", "ID must be empty when creating a new prepared query")
	}
	query.ID = uuid.NewString()
	return query.ID, q.put(ctx, &query, false)
}

// UpdateQuery replaces the query of this ID.
func (q *Queries) UpdateQuery(ctx context.Context, query skerry.PreparedQuery) error {
	return q.put(ctx, &query, true)
}

func (q *Queries) put(ctx context.Context, query *skerry.PreparedQuery, there bool) error {
	if err := validate(query); err != nil {
		return refused(ofDefinition, "%w", err)
	}
	if _, err := compile(query); err != nil {
		return refused(ofTemplate, "failed compiling template: %w", err)
	}
	_, err := q.KV.Update(ctx, func(tx skerry.Tx) error {
		var old *queryRecord
		if r := tx.Get(queryPrefix + query.ID); there && r != nil && r.Damage != nil {
			dropDamaged(tx, query.ID) // it is replaced whole
		} else if there {
			var err error
			if old, err = q.stored(tx, query.ID); err != nil {
				return err
			}
		}
		value, err := q.encode(query, old)
		if err != nil {
			return err
		}
		if old != nil {
			if bytes.Equal(tx.Get(queryPrefix+query.ID).Value, value) {
				return nil
			}
			unindex(tx, &old.PreparedQuery)
		}
		return index(tx, query, value)
	})
	return err
}

// index writes a query and what finds it.
func index(tx skerry.Tx, query *skerry.PreparedQuery, value []byte) error {
	if query.Session != "" {
		s, err := liveSession(tx, query.Session)
		if err != nil {
			return err
		}
		if s == nil {
			return refused(ofSession, "invalid session %q", query.Session)
		}
		tx.Put(querySessionPrefix+query.Session+"/"+query.ID, nil, 0)
	}
	if key := nameKey(query); key != "" {
		if tx.Get(key) != nil {
			return refused(ofName, "name '%s' aliases an existing query name", query.Name)
		}
		if tx.Get(queryPrefix+strings.ToLower(query.Name)) != nil {
			return refused(ofName, "name '%s' aliases an existing query ID", query.Name)
		}
		tx.Put(key, []byte(query.ID), 0)
	}
	tx.Put(queryPrefix+query.ID, value, 0)
	return nil
}

func unindex(tx skerry.Tx, query *skerry.PreparedQuery) {
	if query.Session != "" {
		tx.Delete(querySessionPrefix + query.Session + "/" + query.ID)
	}
	if key := nameKey(query); key != "" {
		tx.Delete(key)
	}
}

// nameKey is the key that holds the query's name; "" for one without.
func nameKey(query *skerry.PreparedQuery) string {
	switch {
	case query.Template.Type != "":
		return queryTemplatePrefix + strings.ToLower(query.Name)
	case query.Name != "":
		return queryNamePrefix + strings.ToLower(query.Name)
	}
	return ""
}

// stored returns a query that is to be changed.
func (q *Queries) stored(tx skerry.Tx, id string) (*queryRecord, error) {
	r := tx.Get(queryPrefix + id)
	if r == nil {
		return nil, noSuchQuery(id)
	}
	return q.decode(r)
}

func noSuchQuery(id string) error {
	return refused("", "Cannot modify non-existent prepared query: '%s'", id)
}

// DeleteQuery removes the query of this ID.
func (q *Queries) DeleteQuery(ctx context.Context, id string) error {
	_, err := q.KV.Update(ctx, func(tx skerry.Tx) error { return dropQuery(tx, id) })
	return err
}

func dropQuery(tx skerry.Tx, id string) error {
	r := tx.Get(queryPrefix + id)
	switch {
	case r == nil:
		return noSuchQuery(id)
	case r.Damage != nil:
		dropDamaged(tx, id)
		return nil
	}
	query, err := decodeQuery(r)
	if err != nil {
		return err
	}
	unindex(tx, &query.PreparedQuery)
	tx.Delete(queryPrefix + id)
	return nil
}

// dropDamaged removes a query of which nothing can be read, with what finds it.
func dropDamaged(tx skerry.Tx, id string) {
	for _, prefix := range []string{queryNamePrefix, queryTemplatePrefix, querySessionPrefix} {
		for _, r := range tx.All(prefix) {
			if r.Damage != nil || string(r.Value) == id || prefix == querySessionPrefix && strings.HasSuffix(r.Key, "/"+id) {
				tx.Delete(r.Key)
			}
		}
	}
	tx.Delete(queryPrefix + id)
}

// dropQueriesOf removes the queries that are bound to a session, within the
// change that ends it.
func dropQueriesOf(tx skerry.Tx, session string) error {
	prefix := querySessionPrefix + session + "/"
	for _, r := range tx.All(prefix) {
		if err := dropQuery(tx, r.Key[len(prefix):]); err != nil {
			return err
		}
	}
	return nil
}

// SyncQueries waits until reads see all that was acknowledged before.
func (q *Queries) SyncQueries(ctx context.Context) error { return q.KV.Sync(ctx) }

// Query returns the query of this ID, or nil, and the index of its last change.
func (q *Queries) Query(id string) (*skerry.PreparedQuery, uint64, error) {
	all := q.now()
	c := all.byID[strings.ToLower(id)]
	if c == nil {
		return nil, 0, all.damaged[strings.ToLower(id)]
	}
	return c.query, c.query.Modified, nil
}

// Queries returns all queries in the order of their creation, and the index of the
// last change to any.
func (q *Queries) Queries() ([]*skerry.PreparedQuery, uint64, error) {
	all := q.now()
	return all.list, all.index, all.damage()
}

// ChangedQueries is WatchQueries's index alone.
func (q *Queries) ChangedQueries() uint64 { return q.KV.Changed(skerry.Below(queryPrefix)) }

// WatchQueries returns the index of the last change to any query, and a channel
// that is closed at the next.
func (q *Queries) WatchQueries() (uint64, <-chan struct{}) {
	return q.KV.Watch(skerry.Below(queryPrefix))
}
