// Package settings keeps what operators decided about the servers. The configuration has
// the first values only: once a value is decided, it counts on all servers.
package settings

import (
	"context"
	"encoding/json"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/decided/record"
)

// Store implements [skerry.Settings].
type Store struct {
	kv    skerry.KV
	first skerry.Autopilot
}

// New returns the settings in a store. first are the values of this server's configuration.
func New(kv skerry.KV, first skerry.Autopilot) *Store {
	first.Created, first.Modified = 0, 0
	return &Store{kv, first}
}

// Autopilot implements [skerry.Settings].
func (s *Store) Autopilot() (skerry.Autopilot, error) {
	return s.decode(s.kv.Snapshot().Get(record.Autopilot))
}

// decode returns the values in a record, or the first ones without a record.
func (s *Store) decode(r *skerry.Record) (skerry.Autopilot, error) {
	if r == nil {
		return s.first, nil
	}
	var a skerry.Autopilot
	if err := record.Decode(r, "configuration of the autopilot", &a); err != nil {
		return a, err
	}
	a.Created, a.Modified = r.Created, r.Modified
	return a, nil
}

// SetAutopilot implements [skerry.Settings]. A damaged record is replaced, unless its index
// is asked for.
func (s *Store) SetAutopilot(ctx context.Context, a skerry.Autopilot, after *uint64) (set bool, err error) {
	value, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	_, err = once.Update(ctx, s.kv, &set, func(tx skerry.Tx) error {
		if set = true; after != nil {
			was, err := s.decode(tx.Get(record.Autopilot))
			if err != nil {
				return err
			}
			set = was.Modified == *after
		}
		if set {
			tx.Put(record.Autopilot, value, 0)
		}
		return nil
	})
	return set && err == nil, err
}

// Begin makes the first values those of all servers, if none are decided.
func (s *Store) Begin(ctx context.Context) error {
	none := uint64(0)
	_, err := s.SetAutopilot(ctx, s.first, &none)
	return err
}
