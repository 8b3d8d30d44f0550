package quorum

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry/keyspace"
)

// batcher sends commits to etcd.
type batcher struct{ store *Store }

// Sync implements [keyspace.Engine].
func (b *batcher) Sync(ctx context.Context) error { return b.store.Sync(ctx) }

// Commit implements [keyspace.Engine].
func (b *batcher) Commit(ctx context.Context, c *keyspace.Commit) (uint64, bool, error) {
	s := b.store
	if s.member != nil && len(c.Puts) > 0 {
		if err := s.member.usable(); err != nil {
			return 0, false, wrap(err)
		}
	}
	g := s.generation.Load()
	r, err := s.client.Txn(ctx).If(s.compares(g, c)...).Then(s.ops(g, c)...).Commit()
	if err != nil {
		return 0, false, wrap(err)
	}
	if err := s.reach(ctx, r.Header.Revision); err != nil {
		return 0, false, err
	}
	return g.index(r.Header.Revision), !r.Succeeded, nil
}

// compares says what must be as it was read. That the generation still counts is
// always among it.
func (s *Store) compares(g *generation, c *keyspace.Commit) []clientv3.Cmp {
	out := make([]clientv3.Cmp, 0, 1+len(c.Reads)+len(c.Ranges))
	out = append(out, clientv3.Compare(clientv3.ModRevision(s.prefix+pointerKey), "=", g.pointer))
	for _, r := range c.Reads {
		out = append(out, clientv3.Compare(clientv3.ModRevision(g.prefix+r.Key), "=", g.revision(r.Modified)))
	}
	for _, p := range c.Ranges {
		newest := clientv3.Compare(clientv3.ModRevision(g.prefix+p), "<", g.revision(c.At)+1)
		out = append(out, newest.WithPrefix())
	}
	return out
}

func (s *Store) ops(g *generation, c *keyspace.Commit) []clientv3.Op {
	out := make([]clientv3.Op, 0, len(c.Puts)+len(c.Deletes)+len(c.Cleared))
	for _, p := range c.Cleared {
		out = append(out, clientv3.OpDelete(g.prefix+p, clientv3.WithPrefix()))
	}
	for _, k := range c.Deletes {
		out = append(out, clientv3.OpDelete(g.prefix+k))
	}
	for _, p := range c.Puts {
		out = append(out, clientv3.OpPut(g.prefix+p.Key, string(p.Value), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	return out
}
