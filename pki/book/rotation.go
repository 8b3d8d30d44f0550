package book

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/join"
)

// Rotation is the last change of the authority.
type Rotation struct {
	Now    pki.Pin   `json:"now"`
	Before pki.Pin   `json:"before"`
	Began  time.Time `json:"began"`
	By     string    `json:"by"`            // the server that made the new one
	Done   time.Time `json:"done,omitzero"` // when the one before lost its trust
}

const (
	rotationKey  = record.Authority + "rotation"
	rotationKind = "rotation of the authority"
	memberKeys   = record.Authority + "member/"
	memberKind   = "authorities of the member"
)

// Rotation returns the last rotation; nil if there was none.
func (b *Book) Rotation() (*Rotation, error) {
	return get[Rotation](b.kv.Snapshot(), rotationKey, rotationKind)
}

// Rotate changes the last rotation.
func (b *Book) Rotate(ctx context.Context, change func(*Rotation) (*Rotation, error)) error {
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error {
		r, err := get[Rotation](tx, rotationKey, rotationKind)
		if err != nil {
			return err
		}
		if r, err = change(r); err != nil {
			return err
		}
		return put(tx, rotationKey, r)
	})
	return err
}

// Signed notes which authority has signed the certificate of a node. It writes nothing if that is known.
func (b *Book) Signed(ctx context.Context, node string, by pki.Pin) error {
	key := record.NodeKeys + record.NodeKey(node)
	if k, err := get[join.NodeKey](b.kv.Snapshot(), key, nodeKind); err != nil || k == nil || k.Authority == by {
		return err
	}
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error {
		k, err := get[join.NodeKey](tx, key, nodeKind)
		if err != nil || k == nil {
			return err
		}
		k.Authority = by
		return put(tx, key, k)
	})
	return err
}

// Trusts notes which authorities the member of the quorum store on a server trusts, since its start.
func (b *Book) Trusts(ctx context.Context, server string, pins []pki.Pin) error {
	_, err := b.kv.Update(ctx, func(tx skerry.Tx) error { return put(tx, memberKeys+record.NodeKey(server), pins) })
	return err
}

// Trusted returns what [Book.Trusts] noted of a server.
func (b *Book) Trusted(server string) ([]pki.Pin, error) {
	pins, err := get[[]pki.Pin](b.kv.Snapshot(), memberKeys+record.NodeKey(server), memberKind)
	if err != nil || pins == nil {
		return nil, err
	}
	return *pins, nil
}

// WatchRotation returns a channel that is closed when the rotation, or a member, changes. Unwatch frees it.
func (b *Book) WatchRotation() <-chan struct{} {
	_, changed := b.kv.Watch(skerry.Below(record.Authority))
	return changed
}
