package record

import (
	"encoding/json"
	"fmt"

	"github.com/skerryhq/skerry"
)

// Decode reads the JSON of a record into v. A record that is damaged, or has no JSON
// for v, is an error. kind names the record's kind in it.
func Decode(r *skerry.Record, kind string, v any) error {
	if r.Damage != nil {
		return r.Damage
	}
	if err := json.Unmarshal(r.Value, v); err != nil {
		return fmt.Errorf("the %s %q is damaged in the store: %w", kind, r.Key, err)
	}
	return nil
}

// DecodeSession returns the session in a record.
func DecodeSession(r *skerry.Record) (*skerry.Session, error) {
	s := &skerry.Session{}
	if err := Decode(r, "session", s); err != nil {
		return nil, err
	}
	s.Created, s.Modified = r.Created, r.Modified
	return s, nil
}

// SessionIn returns a session as a transaction sees it, or nil.
func SessionIn(tx skerry.Tx, id string) (*skerry.Session, error) {
	r := tx.Get(Sessions + id)
	if r == nil || id == "" {
		return nil, nil
	}
	return DecodeSession(r)
}

// LiveSession returns a session that may hold locks, or nil. A session whose TTL has
// passed may hold none, also before it is removed.
func LiveSession(tx skerry.Tx, id string) (*skerry.Session, error) {
	s, err := SessionIn(tx, id)
	if err != nil || s == nil || s.TTL == 0 {
		return s, err
	}
	if tx.Get(Alive+id) == nil {
		return nil, nil
	}
	return s, nil
}

// DecodeExternal returns the external node, instance or check in a record, with the
// stamp that the store gave it. Without a record it returns nil.
func DecodeExternal[T any, P interface {
	*T
	SetStamp(skerry.Stamp)
}](r *skerry.Record) (P, error) {
	if r == nil {
		return nil, nil
	}
	v := P(new(T))
	if err := Decode(r, "external record", v); err != nil {
		return nil, err
	}
	v.SetStamp(skerry.Stamp{Created: r.Created, Modified: r.Modified})
	return v, nil
}
