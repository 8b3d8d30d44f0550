// Package book keeps in the quorum store which processes may be in the cluster: the join tokens, the keys of the nodes that
// joined, and the keys that were revoked.
package book

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/pki/join"
)

// Book implements [join.Book]. Its methods may be called at once.
type Book struct {
	kv skerry.KV

	mu      sync.Mutex
	revoked map[join.Print]bool
	index   uint64 // of revoked in the store
}

// New returns the book in a store.
func New(kv skerry.KV) *Book { return &Book{kv: kv} }

// Token is a token in a list.
type Token struct {
	ID join.ID
	join.Entry
}

// revocation is the record of a revoked key.
type revocation struct {
	Node string    `json:"node"`
	At   time.Time `json:"at"`
}

func get[T any](g interface{ Get(string) *skerry.Record }, key, kind string) (*T, error) {
	r := g.Get(key)
	if r == nil {
		return nil, nil
	}
	v := new(T)
	return v, record.Decode(r, kind, v)
}

func put(tx skerry.Tx, key string, v any) error {
	value, err := json.Marshal(v)
	if err == nil {
		tx.Put(key, value, 0)
	}
	return err
}

const (
	tokenKind = "join token"
	nodeKind  = "key of the node"
)

// Change implements [join.Book].
func (b *Book) Change(ctx context.Context, id join.ID, node string, change func(*join.Entry, *join.NodeKey) (*join.Entry, *join.NodeKey, error)) error {
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error {
		at, of := record.JoinTokens+id.String(), record.NodeKeys+record.NodeKey(node)
		e, err := get[join.Entry](tx, at, tokenKind)
		if err != nil {
			return err
		}
		k, err := get[join.NodeKey](tx, of, nodeKind)
		if err != nil {
			return err
		}
		was := k
		if e, k, err = change(e, k); err != nil {
			return err
		}
		if was != nil && was.Print != k.Print {
			if _, err := revoke(tx, node, time.Now()); err != nil {
				return err
			}
		}
		return errors.Join(put(tx, at, e), put(tx, of, k))
	})
	return err
}

// Add keeps a new token. Tokens that have expired are removed with it.
func (b *Book) Add(ctx context.Context, id join.ID, e join.Entry, now time.Time) error {
	old, err := b.Tokens()
	if err != nil {
		return err
	}
	_, err = b.kv.Update(ctx, func(tx skerry.Tx) error {
		for _, t := range old {
			if now.After(t.Expires) {
				tx.Delete(record.JoinTokens + t.ID.String())
			}
		}
		return put(tx, record.JoinTokens+id.String(), e)
	})
	return err
}

// Import takes over tokens and keys of nodes that were kept before there was a majority. Those in the store stay.
func (b *Book) Import(ctx context.Context, tokens map[string]join.Entry, nodes map[string]join.NodeKey) error {
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error {
		var errs []error
		for _, id := range slices.Sorted(maps.Keys(tokens)) {
			if key := record.JoinTokens + id; tx.Get(key) == nil {
				errs = append(errs, put(tx, key, tokens[id]))
			}
		}
		for _, node := range slices.Sorted(maps.Keys(nodes)) {
			if key := record.NodeKeys + record.NodeKey(node); tx.Get(key) == nil {
				errs = append(errs, put(tx, key, nodes[node]))
			}
		}
		return errors.Join(errs...)
	})
	return err
}

// Tokens returns the tokens that are kept, ordered by ID.
func (b *Book) Tokens() (out []Token, err error) {
	for r := range b.kv.Snapshot().All(skerry.Below(record.JoinTokens), "") {
		t := Token{}
		if t.ID, err = join.ParseID(strings.TrimPrefix(r.Key, record.JoinTokens)); err != nil {
			return nil, err
		}
		if err := record.Decode(r, tokenKind, &t.Entry); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Nodes returns the nodes that joined and were not revoked, in their order.
func (b *Book) Nodes() (out []join.NodeKey, err error) {
	for r := range b.kv.Snapshot().All(skerry.Below(record.NodeKeys), "") {
		n := join.NodeKey{}
		if err := record.Decode(r, nodeKind, &n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// Revoke removes a token: no process joins with it any more. With nodes, the processes that joined with it are revoked too,
// and their names returned. The error is of kind [skerry.NotFound] if there is neither a token nor such a node.
func (b *Book) Revoke(ctx context.Context, id join.ID, nodes bool, now time.Time) (revoked []string, err error) {
	all, err := b.Nodes()
	if err != nil {
		return nil, err
	}
	_, err = b.kv.Update(ctx, func(tx skerry.Tx) error {
		revoked = nil
		key := record.JoinTokens + id.String()
		found := tx.Get(key) != nil
		tx.Delete(key)
		for _, n := range all {
			if !nodes || n.Token != id.String() {
				continue
			}
			found = true
			if _, err := revoke(tx, n.Node, now); err != nil {
				return err
			}
			revoked = append(revoked, n.Node)
		}
		if !found {
			return skerry.Errorf(skerry.NotFound, "there is no join token %s: see `skerry token list`", id)
		}
		return nil
	})
	return revoked, err
}

// RevokeNode refuses the certificate of a node from now on. The node may join anew with a token and another key. The error is
// of kind [skerry.NotFound] if no such node joined.
func (b *Book) RevokeNode(ctx context.Context, node string, now time.Time) error {
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error {
		found, err := revoke(tx, node, now)
		if err == nil && !found {
			err = skerry.Errorf(skerry.NotFound, "no node %q joined with a token, or it was revoked", node)
		}
		return err
	})
	return err
}

func revoke(tx skerry.Tx, node string, now time.Time) (found bool, err error) {
	key := record.NodeKeys + record.NodeKey(node)
	k, err := get[join.NodeKey](tx, key, nodeKind)
	if err != nil || k == nil {
		return false, err
	}
	print, err := k.Print.MarshalText()
	if err != nil {
		return false, err
	}
	tx.Delete(key)
	return true, put(tx, record.Revoked+string(print), revocation{k.Node, now.UTC()})
}

// Revoked reports whether a key was revoked, as this server knows it.
func (b *Book) Revoked(key join.Print) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if index := b.kv.Changed(skerry.Below(record.Revoked)); b.revoked == nil || index != b.index {
		b.revoked, b.index = map[join.Print]bool{}, index
		for r := range b.kv.Snapshot().All(skerry.Below(record.Revoked), "") {
			var p join.Print
			if p.UnmarshalText([]byte(strings.TrimPrefix(r.Key, record.Revoked))) == nil { // a damaged record counts too
				b.revoked[p] = true
			}
		}
	}
	return b.revoked[key]
}

// RevokedNodes returns the nodes that were revoked and have not joined with another key since.
func (b *Book) RevokedNodes() (out []string) {
	snapshot := b.kv.Snapshot()
	for r := range snapshot.All(skerry.Below(record.Revoked), "") {
		var v revocation
		if record.Decode(r, "revocation", &v) == nil && snapshot.Get(record.NodeKeys+record.NodeKey(v.Node)) == nil {
			out = append(out, v.Node)
		}
	}
	return out
}

// Watch returns a channel that is closed when a key is revoked. Unwatch frees it.
func (b *Book) Watch() <-chan struct{} {
	_, changed := b.kv.Watch(skerry.Below(record.Revoked))
	return changed
}

// Unwatch frees what Watch returned.
func (b *Book) Unwatch(changed <-chan struct{}) { b.kv.Unwatch(changed) }
