package quorum

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry/quorum/replica"
)

// Commits that wait at the same time go to etcd together: one transaction with
// one nested transaction for each, so that each succeeds or fails by itself while
// they share the round trip, the log entry and the revision.

const (
	// maxBatches is how many are under way at once. A further one leaves only when it is
	// full: while one is written, commits gather, and one large batch costs less than two
	// small ones.
	maxBatches = 2
	// The bounds of one batch. An etcd of others' takes 128 operations.
	memberBatch   = 256
	externalBatch = 32
	batchBytes    = 1 << 20
	// smallOps and smallBytes limit the commits that share a batch; larger ones go alone.
	smallOps   = 8
	smallBytes = 64 << 10
)

// batcher sends commits to etcd.
type batcher struct {
	store *Store

	mu      sync.Mutex
	waiting []*pending
	running int
}

type pending struct {
	commit *replica.Commit
	size   int
	done   chan outcome
}

type outcome struct {
	index    uint64
	conflict bool
	err      error
}

// Sync implements [replica.Engine].
func (b *batcher) Sync(ctx context.Context) error { return b.store.Sync(ctx) }

// Commit implements [replica.Engine].
func (b *batcher) Commit(ctx context.Context, c *replica.Commit) (uint64, bool, error) {
	if b.store.member != nil && len(c.Puts) > 0 {
		if err := b.store.member.usable(); err != nil {
			return 0, false, wrap(err)
		}
	}
	if err := b.store.thawed(ctx); err != nil {
		return 0, false, err
	}
	p := &pending{commit: c, done: make(chan outcome, 1)}
	if !p.small() {
		o := b.alone(ctx, c)
		if tooLarge(o.err) && divisible(c) {
			o = b.store.inSteps(ctx, c)
		}
		return o.index, o.conflict, o.err
	}
	b.mu.Lock()
	b.waiting = append(b.waiting, p)
	if b.running == 0 || b.running < maxBatches && len(b.waiting) >= b.most() {
		b.running++
		go b.run()
	}
	b.mu.Unlock()
	select {
	case o := <-p.done:
		return o.index, o.conflict, o.err
	case <-b.store.died():
		return 0, false, wrap(b.store.member.dead.reason())
	case <-ctx.Done():
		return 0, false, wrap(ctx.Err())
	}
}

// small reports whether the commit may share a batch. One with a lease may not:
// when the lease has ended, all of the batch would fail.
func (p *pending) small() bool {
	c := p.commit
	if len(c.Ranges)+len(c.Cleared) > 0 || len(c.Reads)+len(c.Puts)+len(c.Deletes) > smallOps {
		return false
	}
	for _, put := range c.Puts {
		if put.Lease != 0 {
			return false
		}
		p.size += len(put.Key) + len(put.Value)
	}
	return p.size <= smallBytes
}

// run sends batches as long as somebody waits for one.
func (b *batcher) run() {
	for {
		batch := b.take()
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		if len(batch) == 1 {
			batch[0].done <- b.alone(ctx, batch[0].commit)
		} else {
			b.together(ctx, batch)
		}
		cancel()
	}
}

// most is how many commits fit into a batch.
func (b *batcher) most() int {
	if b.store.member == nil {
		return externalBatch
	}
	return memberBatch
}

// take returns waiting commits that do not touch each other's keys: within a
// batch, etcd looks at all conditions before it changes anything.
func (b *batcher) take() []*pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := b.most()
	written, read := map[string]bool{}, map[string]bool{}
	var batch, rest []*pending
	size := 0
	for _, p := range b.waiting {
		if len(batch) == most || size+p.size > batchBytes || touches(p.commit, written, read) {
			rest = append(rest, p)
			continue
		}
		size += p.size
		batch = append(batch, p)
		for _, r := range p.commit.Reads {
			read[r.Key] = true
		}
		for _, put := range p.commit.Puts {
			written[put.Key] = true
		}
		for _, key := range p.commit.Deletes {
			written[key] = true
		}
	}
	b.waiting = rest
	if len(batch) == 0 {
		b.running--
	}
	return batch
}

func touches(c *replica.Commit, written, read map[string]bool) bool {
	for _, r := range c.Reads {
		if written[r.Key] {
			return true
		}
	}
	for _, p := range c.Puts {
		if written[p.Key] || read[p.Key] {
			return true
		}
	}
	for _, key := range c.Deletes {
		if written[key] || read[key] {
			return true
		}
	}
	return false
}

// alone sends one commit by itself.
func (b *batcher) alone(ctx context.Context, c *replica.Commit) outcome {
	s := b.store
	g := s.generation.Load()
	if g.Steps != "" {
		return outcome{index: s.Index(), conflict: true}
	}
	s.metrics.batch.Observe(1)
	a, err := s.propose(ctx, &proposal{append(compares(g, c), s.counts(g)), ops(g, c)})
	if err != nil {
		return outcome{err: wrap(err)}
	}
	if !a.made {
		return s.refused(ctx, g, a.revision)
	}
	if err := s.reach(ctx, a.revision); err != nil {
		return outcome{err: err}
	}
	return outcome{index: g.index(a.revision)}
}

// refused returns the outcome of commits whose conditions did not hold, when the table
// shows why. When a commit in steps is the reason, the table stands still until its end.
func (s *Store) refused(ctx context.Context, g *generation, revision int64) outcome {
	frozen := func() bool { return s.generation.Load().Steps != "" }
	if err := s.reachUnless(ctx, revision, frozen); err != nil {
		return outcome{err: wrap(err)}
	}
	return outcome{index: min(g.index(revision), s.Index()), conflict: true}
}

// together sends a batch and gives each commit its result.
func (b *batcher) together(ctx context.Context, batch []*pending) {
	s := b.store
	g := s.generation.Load()
	if g.Steps != "" {
		for _, p := range batch {
			p.done <- outcome{index: s.Index(), conflict: true}
		}
		return
	}
	s.metrics.batch.Observe(float64(len(batch)))
	all := make([]clientv3.Op, len(batch))
	for i, p := range batch {
		all[i] = clientv3.OpTxn(compares(g, p.commit), ops(g, p.commit), nil)
	}
	a, err := s.propose(ctx, &proposal{[]clientv3.Cmp{s.counts(g)}, all})
	if err == nil && !a.made {
		o := s.refused(ctx, g, a.revision)
		for _, p := range batch {
			p.done <- o
		}
		return
	}
	if err == nil {
		err = s.reach(ctx, a.revision)
	}
	for i, p := range batch {
		if err != nil {
			p.done <- outcome{err: wrap(err)}
			continue
		}
		p.done <- outcome{index: g.index(a.revision), conflict: !a.nested[i]}
	}
}

// counts is the condition of every commit: that its generation is the one that counts.
func (s *Store) counts(g *generation) clientv3.Cmp {
	return s.pointsAt(g.pointer)
}

// compares returns the conditions that the records are as they were read.
func compares(g *generation, c *replica.Commit) []clientv3.Cmp {
	out := make([]clientv3.Cmp, 0, 1+len(c.Reads)+len(c.Ranges))
	for _, r := range c.Reads {
		out = append(out, clientv3.Compare(clientv3.ModRevision(g.prefix+r.Key), "=", g.revision(r.Modified)))
	}
	for _, p := range c.Ranges {
		newest := clientv3.Compare(clientv3.ModRevision(g.prefix+p), "<", g.revision(c.At)+1)
		out = append(out, newest.WithPrefix())
	}
	return out
}

func ops(g *generation, c *replica.Commit) []clientv3.Op {
	out := make([]clientv3.Op, 0, len(c.Puts)+len(c.Deletes)+len(c.Cleared))
	for _, p := range c.Cleared {
		out = append(out, clientv3.OpDelete(g.prefix+p, clientv3.WithPrefix()))
	}
	for _, k := range c.Deletes {
		out = append(out, clientv3.OpDelete(g.prefix+k))
	}
	for _, p := range c.Puts {
		out = append(out, clientv3.OpPut(g.prefix+p.Key, encodeRecord(p.Key, p.Value, p.Lease), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	return out
}
