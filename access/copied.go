package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
)

// The primary datacenter decides on policies, roles, and the tokens that are not local. The others copy these records as
// they are; the keys that lead to them are made anew.

// Copy is a record as the primary datacenter has it.
type Copy struct {
	Key   string
	Value []byte `json:",omitempty"` // nil: there is none
}

// CopyState describes a copy. The indexes are those of the primary datacenter.
type CopyState struct {
	Source   string `json:"source"` // the primary datacenter; empty: there is no copy yet
	Index    uint64 `json:"index"`  // that the copy is at
	Policies uint64 `json:"policies"`
	Roles    uint64 `json:"roles"`
	Tokens   uint64 `json:"tokens"`
	// Bootstrapped is whether the primary datacenter has a first token.
	Bootstrapped bool `json:"bootstrapped"`
}

// Records are the records that are copied, at one moment.
type Records struct {
	s      *Store
	at     skerry.Snapshot
	tokens bool
}

// Records returns the records that are copied as this server has them now: policies and roles, and tokens if tokens is true.
func (s *Store) Records(tokens bool) Records { return Records{s, s.kv.Snapshot(), tokens} }

// prefixes returns the prefixes of the records that are copied.
func prefixes(tokens bool) []string {
	if tokens {
		return []string{policyPrefix, rolePrefix, tokenPrefix}
	}
	return []string{policyPrefix, rolePrefix}
}

// own reports whether a record belongs to its datacenter alone: a local token.
func own(r *skerry.Record) bool {
	if !strings.HasPrefix(r.Key, tokenPrefix) {
		return false
	}
	t := decode[skerry.Token](r)
	return t != nil && t.Local
}

// State returns the state of a copy of the records.
func (r Records) State() CopyState {
	return CopyState{
		Source: r.s.o.Datacenter, Index: r.at.Index(), Policies: r.at.Changed(skerry.Below(policyPrefix)), Roles: r.at.Changed(skerry.Below(rolePrefix)),
		Tokens: r.at.Changed(skerry.Below(tokenPrefix)), Bootstrapped: r.at.Get(bootstrapKey) != nil,
	}
}

// all calls yield with the records in the order of their keys, from one on.
func (r Records) all(from string) func(yield func(*skerry.Record) bool) {
	return func(yield func(*skerry.Record) bool) {
		for _, prefix := range prefixes(r.tokens) {
			for one := range r.at.All(skerry.Below(prefix), from) {
				if !own(one) && !yield(one) {
					return
				}
			}
		}
	}
}

// Part returns the records after a key, until they have most bytes, and one at least. more reports whether there are others
// after them.
func (r Records) Part(after string, most int) (part []Copy, more bool, err error) {
	size := 0
	for one := range r.all(after) {
		switch size += len(one.Key) + len(one.Value); {
		case one.Damage != nil:
			return nil, false, one.Damage
		case one.Key == after:
			size = 0
			continue
		case size > most && len(part) > 0:
			return part, true, nil
		}
		part = append(part, Copy{one.Key, one.Value})
	}
	return part, false, nil
}

// Later returns the records that have changed after an index. known is false if the changes after it are forgotten.
func (r Records) Later(since uint64) (changed []Copy, known bool, err error) {
	feed, is := r.s.kv.(skerry.Feed)
	if !is || since > r.at.Index() {
		return nil, false, nil
	}
	keys, known := feed.Changes(root, since) // after the snapshot was taken: it has all of them
	for _, key := range keys {
		if !slices.ContainsFunc(prefixes(r.tokens), func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			continue
		}
		switch one := r.at.Get(key); {
		case one == nil:
			changed = append(changed, Copy{Key: key})
		case one.Damage != nil:
			return nil, false, one.Damage
		case !own(one):
			changed = append(changed, Copy{key, one.Value})
		}
	}
	return changed, known, nil
}

// digests are the last digests, with and without tokens.
type digests struct {
	mu sync.Mutex
	of map[bool]*digestSum
}

// digestSum is the digest of records as a sum of hashes: a change costs the records in it alone.
type digestSum struct {
	index  uint64 // of the table
	sum    [4]uint64
	hashes map[string][4]uint64 // by key
}

// Digest returns a digest of the records: two copies with the same one are the same.
func (r Records) Digest() []byte {
	all := &r.s.digests
	all.mu.Lock()
	defer all.mu.Unlock()
	d := all.of[r.tokens]
	var keys []string
	known := false
	if feed, is := r.s.kv.(skerry.Feed); is && d != nil {
		keys, known = feed.Changes(root, min(d.index, r.at.Index())) // d may be of a later moment
	}
	if known {
		for _, key := range keys {
			if slices.ContainsFunc(prefixes(r.tokens), func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
				d.set(key, r.at.Get(key))
			}
		}
	} else {
		d = &digestSum{hashes: map[string][4]uint64{}}
		for one := range r.all("") {
			d.set(one.Key, one)
		}
		if all.of == nil {
			all.of = map[bool]*digestSum{}
		}
		all.of[r.tokens] = d
	}
	d.index = r.at.Index()
	var out []byte
	for _, word := range d.sum {
		out = binary.BigEndian.AppendUint64(out, word)
	}
	return out
}

// set takes the present record of a key; nil: there is none.
func (d *digestSum) set(key string, r *skerry.Record) {
	was := d.hashes[key]
	delete(d.hashes, key)
	var is [4]uint64
	if r != nil && r.Damage == nil && !own(r) {
		h := sha256.New()
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
		io.WriteString(h, key)
		h.Write(r.Value)
		sum := h.Sum(nil)
		for i := range is {
			is[i] = binary.BigEndian.Uint64(sum[8*i:])
		}
		d.hashes[key] = is
	}
	for i := range d.sum {
		d.sum[i] += is[i] - was[i]
	}
}

// CopyState returns the state of the copy, as this server has it now.
func (s *Store) CopyState() CopyState {
	if state := read[CopyState](s.kv.Snapshot(), copiedKey); state != nil {
		return *state
	}
	return CopyState{}
}

// WatchAll returns the index of the last change to a token, policy, role, auth method or binding rule, and a channel that is
// closed at the next.
func (s *Store) WatchAll() (uint64, <-chan struct{}) { return s.kv.Watch(skerry.Below(root)) }

// Sync waits until this server has every change that was acknowledged before.
func (s *Store) Sync(ctx context.Context) error { return s.kv.Sync(ctx) }

// takeAtOnce bounds one change, in records.
const takeAtOnce = 500

// errOvertaken is the error of a copy that another server of the datacenter has overtaken.
var errOvertaken = skerry.Errorf(skerry.Conflict, "another server of this datacenter has taken a copy meanwhile")

// Take brings the copy from one state to another: its records are the given ones if they are whole, else these have changed.
// Local tokens stay. Records are removed after all others were written. An error of kind Conflict means that the copy is in
// another state, or that the primary datacenter has no first token and this one has: nothing is taken then.
func (s *Store) Take(ctx context.Context, from, to CopyState, whole bool, records []Copy) error {
	at := s.kv.Snapshot()
	if !to.Bootstrapped && at.Get(bootstrapKey) != nil {
		return skerry.Errorf(skerry.Conflict, "the datacenter %s has no first token, and this one has: its records stay. Give %s its tokens back, or bootstrap it", to.Source, to.Source)
	}
	changes, err := (Records{s, at, s.o.CopyTokens}).differences(whole, records)
	if err != nil {
		return err
	}
	for {
		n := min(takeAtOnce, len(changes))
		last := n == len(changes)
		_, err := s.kv.Update(ctx, func(tx skerry.Tx) error {
			if is := read[CopyState](tx, copiedKey); is == nil && from != (CopyState{}) || is != nil && *is != from {
				return errOvertaken
			}
			for _, c := range changes[:n] {
				s.take(tx, c)
			}
			if last {
				put(tx, copiedKey, &to)
				if to.Bootstrapped && tx.Get(bootstrapKey) == nil {
					tx.Put(bootstrapKey, []byte(`{}`), 0)
				}
			}
			return nil
		})
		s.gates.drop()
		if err != nil || last {
			return err
		}
		changes = changes[n:]
	}
}

// differences returns the changes that make the records those of the primary datacenter. Removals are the last.
func (r Records) differences(whole bool, records []Copy) (changes []Copy, err error) {
	named, gone := map[string]bool{}, []Copy(nil)
	for _, c := range records {
		if err := c.check(r.tokens); err != nil {
			return nil, err
		}
		named[c.Key] = true
		switch had := r.at.Get(c.Key); {
		case c.Value == nil && had != nil && !own(had):
			gone = append(gone, c)
		case c.Value != nil && (had == nil || !bytes.Equal(had.Value, c.Value)):
			changes = append(changes, c)
		}
	}
	if whole {
		for one := range r.all("") {
			unknown := one.Damage != nil && strings.HasPrefix(one.Key, tokenPrefix) // it may be a local token
			if !named[one.Key] && !unknown {
				gone = append(gone, Copy{Key: one.Key})
			}
		}
	}
	return append(changes, gone...), nil
}

// check returns an error unless the record is one that is copied.
func (c *Copy) check(tokens bool) error {
	ok := c.Value == nil
	switch {
	case strings.HasPrefix(c.Key, policyPrefix):
		var p skerry.Policy
		ok = ok || json.Unmarshal(c.Value, &p) == nil && policyKey(p.ID) == c.Key && p.Name != ""
	case strings.HasPrefix(c.Key, rolePrefix):
		var r skerry.Role
		ok = ok || json.Unmarshal(c.Value, &r) == nil && roleKey(r.ID) == c.Key && r.Name != ""
	case strings.HasPrefix(c.Key, tokenPrefix) && tokens:
		var t storedToken
		ok = ok || json.Unmarshal(c.Value, &t) == nil && tokenKey(t.Accessor) == c.Key && len(t.SecretHash) == sha256.Size && !t.Local
	default:
		ok = false
	}
	if !ok {
		return skerry.Errorf(skerry.Invalid, "the primary datacenter sent %q, which is no record of a policy, role or token", c.Key)
	}
	return nil
}

// take writes or removes one record, and the keys that lead to it.
func (s *Store) take(tx skerry.Tx, c Copy) {
	was := tx.Get(c.Key)
	if was != nil && was.Damage != nil {
		dropLinks(tx, linksTo(c.Key), idOf(c.Key))
	}
	for key, value := range leading(was) {
		if is := tx.Get(key); is != nil && bytes.Equal(is.Value, value) { // else it leads to another record already
			tx.Delete(key)
		}
	}
	if c.Value == nil {
		tx.Delete(c.Key)
		return
	}
	tx.Put(c.Key, c.Value, 0)
	for key, value := range leading(&skerry.Record{Key: c.Key, Value: c.Value}) {
		tx.Put(key, value, 0)
	}
}

// idOf returns the part of a key that is the ID of a policy or a role, or the accessor of a token.
func idOf(key string) string { return key[strings.LastIndex(key, "/")+1:] }

// linksTo returns the prefix of the keys that lead to a record by a name or a secret.
func linksTo(key string) string {
	switch {
	case strings.HasPrefix(key, policyPrefix):
		return policyNames
	case strings.HasPrefix(key, rolePrefix):
		return roleNames
	}
	return secretPrefix
}

// leading returns the keys that lead to a record, with their values.
func leading(r *skerry.Record) map[string][]byte {
	if r == nil || r.Damage != nil {
		return nil
	}
	id := []byte(idOf(r.Key))
	switch linksTo(r.Key) {
	case policyNames:
		if p := decode[skerry.Policy](r); p != nil {
			return map[string][]byte{policyNameKey(p.Name): id}
		}
	case roleNames:
		if r := decode[skerry.Role](r); r != nil {
			return map[string][]byte{roleNameKey(r.Name): id}
		}
	case secretPrefix:
		if t := decode[storedToken](r); t != nil {
			keys := map[string][]byte{secretPrefix + hexOf(t.SecretHash): id}
			if !t.Expires.IsZero() {
				keys[expiryKey(t.Expires, t.Accessor)] = nil
			}
			return keys
		}
	}
	return nil
}
