package quorum

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/skerryhq/skerry"
)

// The bounds of one transaction of a restore: those of an etcd with its defaults.
const (
	chunkOps   = 100
	chunkBytes = 1 << 20
	chunkers   = 8 // transactions at once
	// replaceWithin bounds a restore.
	replaceWithin = 10 * time.Minute
)

// Replace implements [skerry.Replacer]: it writes a new generation beside the present
// one, then moves the pointer. A failure before that leaves all as it was.
func (s *Store) Replace(ctx context.Context, atLeast uint64, records iter.Seq2[skerry.Record, error]) error {
	ctx, cancel := context.WithTimeout(ctx, replaceWithin)
	defer cancel()
	if err := s.Sync(ctx); err != nil {
		return err
	}
	old := s.generation.Load()
	revision := old.revision(s.Index())
	next := generation{Name: uuid.NewString()[:8], Base: old.Base}
	if atLeast > uint64(revision) {
		next.Base = max(next.Base, atLeast-uint64(revision))
	}
	next.prefix = s.generationPrefix(next.Name)
	if err := s.write(ctx, &next, records); err != nil {
		s.drop(next.prefix)
		return wrap(err)
	}
	a, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.counts(old)}, []clientv3.Op{s.pointTo(&next)}})
	if err != nil {
		return wrap(err) // it may have been made: then the new generation counts
	}
	if !a.made {
		s.drop(next.prefix)
		return skerry.Errorf(skerry.Conflict, "another restore came first")
	}
	defer s.drop(old.prefix)
	return s.Wait(ctx, next.index(a.revision))
}

// write puts all records below the generation's prefix.
func (s *Store) write(ctx context.Context, g *generation, records iter.Seq2[skerry.Record, error]) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(chunkers)
	var ops []clientv3.Op
	size := 0
	send := func() {
		chunk := ops
		ops, size = nil, 0
		group.Go(func() error {
			_, err := s.propose(ctx, &proposal{operations: chunk})
			return err
		})
	}
	for r, err := range records {
		if err == nil {
			err = ctx.Err() // a chunk failed: Wait has its error
		}
		if err != nil {
			return cmp.Or(group.Wait(), err)
		}
		ops = append(ops, clientv3.OpPut(g.prefix+r.Key, encodeRecord(r.Key, r.Value, r.Lease), clientv3.WithLease(clientv3.LeaseID(r.Lease))))
		if size += len(r.Key) + len(r.Value); len(ops) == chunkOps || size >= chunkBytes {
			send()
		}
	}
	if len(ops) > 0 {
		send()
	}
	return group.Wait()
}

// drop removes a generation that does not count. If that fails, its records only take
// room.
func (s *Store) drop(prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if _, err := s.propose(ctx, &proposal{operations: []clientv3.Op{clientv3.OpDelete(prefix, clientv3.WithPrefix())}}); err != nil {
		s.log.Warn("remove what a restore replaced", "error", err)
	}
}
