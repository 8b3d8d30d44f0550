// Package query has the prepared queries: their records, their templates and their
// answers.
package query

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/record"
)

// redacted stands in a query for a token that is not shown.
const redacted = "<hidden>"

// Options configure a [Store].
type Options struct {
	KV      skerry.KV
	Catalog skerry.Catalog
	// From returns the distances from a node to others in seconds, +Inf where one is not
	// known. It returns nil when nothing is known of the node.
	From func(node string) func(to string) float64
	// Sealer seals the tokens of queries. Without a Sealer a query can have none.
	Sealer Sealer
	// Datacenters are the others, for queries that fail over; nil: none is known.
	Datacenters skerry.Datacenters
	Log         *slog.Logger // default: discard
}

// Store has the prepared queries.
type Store struct {
	kv      skerry.KV
	catalog skerry.Catalog
	from    func(node string) func(to string) float64
	sealer  Sealer
	others  skerry.Datacenters
	log     *slog.Logger

	ready ready
}

// New returns the prepared queries in a quorum store.
func New(o Options) *Store {
	return &Store{kv: o.KV, catalog: o.Catalog, from: o.From, sealer: o.Sealer, others: o.Datacenters, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
}

// In returns the same queries, answered from another catalog. They do not fail over to other datacenters.
func (q *Store) In(catalog skerry.Catalog) *Store {
	return New(Options{KV: q.kv, Catalog: catalog, From: q.from, Sealer: q.sealer, Log: q.log})
}

// refused returns an error about a definition. subject is the part of the definition that
// it is about, or empty.
func refused(subject, format string, args ...any) *skerry.Error {
	err := skerry.Errorf(skerry.Invalid, format, args...)
	err.Subject = subject
	return err
}

// The subjects of errors. A definition is judged alone. Its name and session are judged
// by the stored records.
const (
	ofDefinition = "definition"
	ofName       = "name"
	ofSession    = "session"
	ofTemplate   = "template"
)

// CreateQuery stores a new query and returns its ID.
func (q *Store) CreateQuery(ctx context.Context, query skerry.PreparedQuery) (string, error) {
	if query.ID != "" {
		return "", refused("", "ID must be empty when creating a new prepared query")
	}
	query.ID = once.ID(ctx)
	return query.ID, q.put(ctx, &query, false)
}

// UpdateQuery replaces the query that has the ID.
func (q *Store) UpdateQuery(ctx context.Context, query skerry.PreparedQuery) error {
	return q.put(ctx, &query, true)
}

func (q *Store) put(ctx context.Context, query *skerry.PreparedQuery, there bool) error {
	if err := validate(query); err != nil {
		return refused(ofDefinition, "%w", err)
	}
	if _, err := compile(query); err != nil {
		return refused(ofTemplate, "failed compiling template: %w", err)
	}
	_, err := once.Update(ctx, q.kv, nil, func(tx skerry.Tx) error {
		var old *stored
		if r := tx.Get(record.Queries + query.ID); there && r != nil && r.Damage != nil {
			dropDamaged(tx, query.ID) // the new definition replaces it whole
		} else if there {
			var err error
			if old, err = q.find(tx, query.ID); err != nil {
				return err
			}
		}
		value, err := q.encode(query, old)
		if err != nil {
			return err
		}
		if old != nil {
			if bytes.Equal(tx.Get(record.Queries+query.ID).Value, value) {
				return nil
			}
			unindex(tx, &old.PreparedQuery)
		}
		return index(tx, query, value)
	})
	return err
}

// index writes a query and the keys that find it.
func index(tx skerry.Tx, query *skerry.PreparedQuery, value []byte) error {
	if query.Session != "" {
		s, err := record.LiveSession(tx, query.Session)
		if err != nil {
			return err
		}
		if s == nil {
			return refused(ofSession, "invalid session %q", query.Session)
		}
		tx.Put(record.QuerySessions+query.Session+"/"+query.ID, nil, 0)
	}
	if key := nameKey(query); key != "" {
		if tx.Get(key) != nil {
			return refused(ofName, "name '%s' aliases an existing query name", query.Name)
		}
		if tx.Get(record.Queries+strings.ToLower(query.Name)) != nil {
			return refused(ofName, "name '%s' aliases an existing query ID", query.Name)
		}
		tx.Put(key, []byte(query.ID), 0)
	}
	tx.Put(record.Queries+query.ID, value, 0)
	return nil
}

// unindex removes the keys that find a query.
func unindex(tx skerry.Tx, query *skerry.PreparedQuery) {
	if query.Session != "" {
		tx.Delete(record.QuerySessions + query.Session + "/" + query.ID)
	}
	if key := nameKey(query); key != "" {
		tx.Delete(key)
	}
}

// nameKey returns the key that holds a query's name. It is empty for a query without a
// name.
func nameKey(query *skerry.PreparedQuery) string {
	switch {
	case query.Template.Type != "":
		return record.QueryTemplates + strings.ToLower(query.Name)
	case query.Name != "":
		return record.QueryNames + strings.ToLower(query.Name)
	}
	return ""
}

// find returns a query that is about to be changed.
func (q *Store) find(tx skerry.Tx, id string) (*stored, error) {
	r := tx.Get(record.Queries + id)
	if r == nil {
		return nil, noSuch(id)
	}
	return q.decode(r)
}

func noSuch(id string) error {
	return refused("", "Cannot modify non-existent prepared query: '%s'", id)
}

// DeleteQuery removes the query that has the ID.
func (q *Store) DeleteQuery(ctx context.Context, id string) error {
	_, err := once.Update(ctx, q.kv, nil, func(tx skerry.Tx) error { return drop(tx, id) })
	return err
}

func drop(tx skerry.Tx, id string) error {
	r := tx.Get(record.Queries + id)
	switch {
	case r == nil:
		return noSuch(id)
	case r.Damage != nil:
		dropDamaged(tx, id)
		return nil
	}
	query, err := decodeStored(r)
	if err != nil {
		return err
	}
	unindex(tx, &query.PreparedQuery)
	tx.Delete(record.Queries + id)
	return nil
}

// dropDamaged removes a query whose record cannot be read, and the keys that find it.
func dropDamaged(tx skerry.Tx, id string) {
	for _, prefix := range []string{record.QueryNames, record.QueryTemplates, record.QuerySessions} {
		for _, r := range tx.All(prefix) {
			if r.Damage != nil || string(r.Value) == id || prefix == record.QuerySessions && strings.HasSuffix(r.Key, "/"+id) {
				tx.Delete(r.Key)
			}
		}
	}
	tx.Delete(record.Queries + id)
}

// DropBound removes the queries that are bound to a session, within the change that ends
// the session.
func DropBound(tx skerry.Tx, session string) error {
	prefix := record.QuerySessions + session + "/"
	for _, r := range tx.All(prefix) {
		if err := drop(tx, r.Key[len(prefix):]); err != nil {
			return err
		}
	}
	return nil
}

// Query returns the query that has the ID, or nil, and the index of its last change.
func (q *Store) Query(id string) (*skerry.PreparedQuery, uint64, error) {
	all := q.now()
	c := all.byID[strings.ToLower(id)]
	if c == nil {
		return nil, 0, all.damaged[strings.ToLower(id)]
	}
	return c.query, c.query.Modified, nil
}

// Queries returns all queries in the order of their creation, and the index of the last
// change to any of them.
func (q *Store) Queries() ([]*skerry.PreparedQuery, uint64, error) {
	all := q.now()
	return all.list, all.index, all.damage()
}

// ChangedQueries returns the index that WatchQueries returns.
func (q *Store) ChangedQueries() uint64 { return q.kv.Changed(skerry.Below(record.Queries)) }

// WatchQueries returns the index of the last change to any query, and a channel
// that is closed at the next change.
func (q *Store) WatchQueries() (uint64, <-chan struct{}) {
	return q.kv.Watch(skerry.Below(record.Queries))
}
