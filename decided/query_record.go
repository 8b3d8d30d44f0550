package decided

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerryhq/skerry"
)

// Sealer keeps secrets from readers of the store, or of a copy of it.
type Sealer interface {
	// Seal encrypts a secret that belongs to what has this ID.
	Seal(secret, id string) ([]byte, error)
	// Open returns the secret. ok is false when it was sealed with another key or for
	// another ID.
	Open(sealed []byte, id string) (secret string, ok bool)
}

// queryRecord is a query as it is written: its token only sealed.
type queryRecord struct {
	skerry.PreparedQuery
	Sealed []byte `json:"sealed,omitempty"`
	// Withheld says that the token was left out of a snapshot.
	Withheld bool `json:"withheld,omitempty"`
}

// encode returns a query's record. was is the record before, or nil: the token that
// it has already is not sealed anew, so that the same query is the same record.
func (q *Queries) encode(query *skerry.PreparedQuery, was *queryRecord) ([]byte, error) {
	out := queryRecord{PreparedQuery: *query}
	if query.Token != "" {
		if q.Sealer == nil {
			return nil, skerry.Errorf(skerry.Unsupported, "Token: this server has no key to seal a query's token with")
		}
		if was != nil && was.Sealed != nil && was.Token == query.Token {
			out.Sealed = was.Sealed
		} else {
			var err error
			if out.Sealed, err = q.Sealer.Seal(query.Token, query.ID); err != nil {
				return nil, fmt.Errorf("seal the query's token: %w", err)
			}
		}
		out.Token = ""
	}
	return json.Marshal(out)
}

// decode returns a query as it was meant. A token that cannot be opened is redacted:
// then the query is refused, instead of running with the asker's.
func (q *Queries) decode(r *skerry.Record) (*queryRecord, error) {
	out, err := decodeQuery(r)
	switch {
	case err != nil:
		return nil, err
	case out.Withheld:
		out.Token = redacted
	case out.Sealed != nil:
		out.Token = redacted
		if q.Sealer != nil {
			if secret, ok := q.Sealer.Open(out.Sealed, out.ID); ok {
				out.Token = secret
			}
		}
	}
	return out, nil
}

// decodeQuery returns a query's record as it is written.
func decodeQuery(r *skerry.Record) (*queryRecord, error) {
	if r.Damage != nil {
		return nil, r.Damage
	}
	out := &queryRecord{}
	if err := json.Unmarshal(r.Value, out); err != nil {
		return nil, fmt.Errorf("the prepared query %q is damaged in the store: %w", r.Key, err)
	}
	out.Stamp = skerry.Stamp{Created: r.Created, Modified: r.Modified}
	return out, nil
}

// withoutToken returns a query's record without its token: one that is in clear text
// always, a sealed one unless it is to be kept.
func withoutToken(value []byte, keepSealed bool) ([]byte, error) {
	var r queryRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if r.Token == "" && (r.Sealed == nil || keepSealed) {
		return value, nil
	}
	r.Token, r.Sealed, r.Withheld = "", nil, true
	return json.Marshal(r)
}

// sealAgain is how long to wait before tokens that could not be sealed are tried again.
const sealAgain = 5 * time.Second

// Run seals the tokens that an earlier version, or a snapshot of one, has in clear
// text, until ctx ends.
func (q *Queries) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_, changed := q.KV.Watch(skerry.Below(queryPrefix))
		timer := time.NewTimer(sealAgain)
		if err := q.sealAll(ctx); err == nil {
			timer.Stop()
		} else if ctx.Err() == nil {
			q.Log.Debug("tokens of prepared queries wait to be sealed", "error", err)
		}
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		q.KV.Unwatch(changed)
	}
}

func (q *Queries) sealAll(ctx context.Context) error {
	for r := range q.KV.Snapshot().All(skerry.Below(queryPrefix), "") {
		if c, err := q.decode(r); err != nil || !c.clear() {
			continue
		}
		_, err := q.KV.Update(ctx, func(tx skerry.Tx) error {
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
		q.Log.Info("the token of a prepared query, kept in clear text by an earlier version, was sealed", "query", r.Key[len(queryPrefix):])
	}
	return nil
}

// clear reports whether the token is stored as it is.
func (r *queryRecord) clear() bool { return r.Token != "" && r.Sealed == nil && !r.Withheld }
