package query

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// Sealer hides secrets from readers of the quorum store, and of copies of it.
type Sealer interface {
	// Seal encrypts a secret of the query that has the ID.
	Seal(secret, id string) ([]byte, error)
	// Open returns the secret. ok is false when it was sealed with another key or for
	// another query.
	Open(sealed []byte, id string) (secret string, ok bool)
}

// stored is a query as it is stored: its token is sealed.
type stored struct {
	skerry.PreparedQuery
	Sealed []byte `json:"sealed,omitempty"`
	// Withheld is true when the token was left out of a snapshot.
	Withheld bool `json:"withheld,omitempty"`
}

// encode returns a query's record. was is the record before, or nil. The token that was
// has already is not sealed anew, so that the same query has the same record.
func (q *Store) encode(query *skerry.PreparedQuery, was *stored) ([]byte, error) {
	out := stored{PreparedQuery: *query}
	if query.Token != "" {
		if q.sealer == nil {
			return nil, skerry.Errorf(skerry.Unsupported, "Token: this server has no key to seal a query's token with")
		}
		if was != nil && was.Sealed != nil && was.Token == query.Token {
			out.Sealed = was.Sealed
		} else {
			var err error
			if out.Sealed, err = q.sealer.Seal(query.Token, query.ID); err != nil {
				return nil, fmt.Errorf("seal the query's token: %w", err)
			}
		}
		out.Token = ""
	}
	return json.Marshal(out)
}

// decode returns a query with its token opened. A token that cannot be opened is
// redacted, so that the query is refused instead of running with the caller's token.
func (q *Store) decode(r *skerry.Record) (*stored, error) {
	out, err := decodeStored(r)
	switch {
	case err != nil:
		return nil, err
	case out.Withheld:
		out.Token = redacted
	case out.Sealed != nil:
		out.Token = redacted
		if q.sealer != nil {
			if secret, ok := q.sealer.Open(out.Sealed, out.ID); ok {
				out.Token = secret
			}
		}
	}
	return out, nil
}

// decodeStored returns a query as it is stored.
func decodeStored(r *skerry.Record) (*stored, error) {
	out := &stored{}
	if err := record.Decode(r, "prepared query", out); err != nil {
		return nil, err
	}
	out.Stamp = skerry.Stamp{Created: r.Created, Modified: r.Modified}
	return out, nil
}

// WithoutToken returns the value of a query's record without its token. With keepSealed
// a sealed token stays.
func WithoutToken(value []byte, keepSealed bool) ([]byte, error) {
	var r stored
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if r.Token == "" && (r.Sealed == nil || keepSealed) {
		return value, nil
	}
	r.Token, r.Sealed, r.Withheld = "", nil, true
	return json.Marshal(r)
}

// sealAgain is the time until sealing tokens is tried again after it failed.
const sealAgain = 5 * time.Second

// Run seals the tokens that are stored in clear text, until ctx ends. Earlier versions
// and their snapshots have such tokens.
func (q *Store) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_, changed := q.kv.Watch(skerry.Below(record.Queries))
		timer := time.NewTimer(sealAgain)
		if err := q.sealAll(ctx); err == nil {
			timer.Stop()
		} else if ctx.Err() == nil {
			q.log.Debug("tokens of prepared queries wait to be sealed", "error", err)
		}
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		q.kv.Unwatch(changed)
	}
}

func (q *Store) sealAll(ctx context.Context) error {
	for r := range q.kv.Snapshot().All(skerry.Below(record.Queries), "") {
		if c, err := q.decode(r); err != nil || !c.clear() {
			continue
		}
		_, err := q.kv.Update(ctx, func(tx skerry.Tx) error {
			now := tx.Get(r.Key)
			if now == nil {
				return nil
			}
			c, err := q.decode(now)
			if err != nil || !c.clear() {
				return err
			}
			value, err := q.encode(&c.PreparedQuery, nil)
			if err == nil {
				tx.Put(r.Key, value, 0)
			}
			return err
		})
		if err != nil {
			return err
		}
		q.log.Info("the token of a prepared query, kept in clear text by an earlier version, was sealed", "query", r.Key[len(record.Queries):])
	}
	return nil
}

// clear reports whether the token is stored in clear text.
func (r *stored) clear() bool { return r.Token != "" && r.Sealed == nil && !r.Withheld }
