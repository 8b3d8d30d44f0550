// Package quorum is the quorum store in etcd: a member in this process, or an existing
// cluster. No other package knows etcd. See DESIGN.md.
package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// DefaultPrefix is the default prefix of all keys in etcd.
const DefaultPrefix = "skerry/"

// answerWithin bounds operations without a deadline of their own: Consul's
// rpc_hold_timeout.
const answerWithin = 7 * time.Second

// Store is a [skerry.KV] in etcd.
type Store struct {
	*replica.Table
	client *clientv3.Client
	member *member // nil: an existing cluster
	prefix string
	log    *slog.Logger

	// generation is the generation that counts, as in the pointer key.
	generation atomic.Pointer[generation]
	damage     damage
	others     Others           // nil: there are none
	reload     chan struct{}    // asks for the table to be loaded anew
	held       []replica.Change // steps of a commit that are not shown yet
	stepping   sync.Mutex       // one commit in steps at a time
	taking     sync.Mutex       // one takes over the steps of others
	moved      atomic.Int64     // when steps went on last, in nanoseconds since born
	batch      *batcher
	syncs      *rounds
	slots      *slots
	metrics    *metrics
	born       time.Time
	answered   atomic.Int64 // when an existing cluster answered last, in nanoseconds since born
	asked      atomic.Int64 // when progress was asked for last, in nanoseconds since born

	life    context.Context // ends with the store
	over    context.Context // ends with the store or its member, with the cause
	cancel  context.CancelFunc
	done    sync.WaitGroup
	closing sync.Once
}

// Open starts a member in this process and returns its store.
func Open(ctx context.Context, cfg Embedded) (*Store, error) {
	m, err := start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := newStore(ctx, m.client, m, DefaultPrefix, cfg.Others, cfg.Log)
	if err != nil {
		m.close()
		return nil, err
	}
	s.run(func(ctx context.Context) { m.keep(ctx, cfg.Log) })
	if s.others != nil {
		s.run(s.heals)
	}
	return s, nil
}

func newStore(ctx context.Context, client *clientv3.Client, m *member, prefix string, others Others, log *slog.Logger) (*Store, error) {
	s := &Store{client: client, member: m, prefix: prefix, others: others, reload: make(chan struct{}), log: log, metrics: newMetrics(), born: time.Now()}
	s.damage.news = make(chan struct{}, 1)
	if m != nil {
		s.slots = newSlots(prefix + slotPrefix + m.id() + "/")
	}
	s.batch = &batcher{store: s}
	s.syncs = &rounds{round: s.metrics.rounds(s.readIndex)}
	inner, cancel := context.WithCancel(context.Background())
	s.life, s.cancel = inner, cancel
	s.over = s.untilOver(inner)
	revision, err := s.load(ctx)
	if err != nil {
		cancel()
		return nil, wrap(err)
	}
	s.run(func(context.Context) { s.follow(inner, revision) })
	if m != nil && m.peers {
		s.run(func(ctx context.Context) { m.leads.listen(ctx, s.readIndex) })
	}
	return s, nil
}

// untilOver returns a context that ends with ctx, or when the member dies.
func (s *Store) untilOver(ctx context.Context) context.Context {
	if s.member == nil {
		return ctx
	}
	over, end := context.WithCancelCause(context.Background())
	go func() {
		select {
		case <-s.died():
			end(s.member.dead.reason())
		case <-ctx.Done():
			end(errClosed)
		}
	}()
	return over
}

// run starts a goroutine that Close ends and waits for.
func (s *Store) run(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := s.cancel
	s.cancel = func() { cancel(); stop() }
	s.done.Go(func() { f(ctx) })
}

// Close stops the store. A second call waits for the first.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.cancel()
		if s.member == nil {
			s.client.Close()
		}
		s.done.Wait()
		if s.member != nil {
			s.member.close()
		}
	})
	return nil
}

// Update implements [skerry.KV].
func (s *Store) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.Table.Update(ctx, (*counted)(s.batch), change)
}

// Sync implements [skerry.KV].
func (s *Store) Sync(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	s.metrics.syncs.Inc()
	return s.syncs.join(ctx)
}

// bounded gives a request that may hang for ever an end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, answerWithin)
}

// readIndex waits until the table holds all that was acknowledged before.
func (s *Store) readIndex(ctx context.Context) error {
	var revision int64
	if s.member != nil {
		if err := s.member.dead.reason(); err != nil {
			return wrap(err)
		}
		server := s.member.etcd.Server
		_, err := asked(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, server.LinearizableReadNotify(ctx) })
		if err != nil {
			return wrap(err)
		}
		revision = server.KV().Rev()
	} else {
		r, err := s.client.Get(ctx, s.prefix+pointerKey, clientv3.WithCountOnly())
		if err != nil {
			return wrap(err)
		}
		revision = r.Header.Revision
	}
	return s.reach(ctx, revision)
}

// patience is how long events are given to arrive before it is asked whether
// there are any: others may write to the same etcd, and of that we see nothing.
const patience = 2 * time.Millisecond

// reach waits until the table holds everything up to a revision.
func (s *Store) reach(ctx context.Context, revision int64) error {
	return s.reachUnless(ctx, revision, func() bool { return false })
}

// reachUnless is reach that ends early when stop returns true.
func (s *Store) reachUnless(ctx context.Context, revision int64, stop func() bool) error {
	index := s.generation.Load().index(revision)
	for s.Index() < index && !stop() {
		step, cancel := context.WithTimeout(ctx, patience)
		err := s.Wait(step, index)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		now := int64(time.Since(s.born)) // of the monotonic clock: the wall clock may be set back
		if last := s.asked.Load(); now-last > int64(patience) && s.asked.CompareAndSwap(last, now) {
			if err := s.client.RequestProgress(ctx); err != nil {
				return wrap(err)
			}
		}
	}
	return nil
}

// Grant implements [skerry.KV].
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (skerry.LeaseID, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	// A lease whose answer was lost has no keys and ends by itself.
	r, err := again(ctx, s, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return s.client.Grant(ctx, int64(math.Ceil(ttl.Seconds())))
	})
	if err != nil {
		return 0, wrap(err)
	}
	return skerry.LeaseID(r.ID), nil
}

// Renew implements [skerry.KV].
func (s *Store) Renew(ctx context.Context, id skerry.LeaseID) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := again(ctx, s, func(ctx context.Context) (*clientv3.LeaseKeepAliveResponse, error) {
		return s.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	})
	return wrap(err)
}

// Revoke implements [skerry.KV].
func (s *Store) Revoke(ctx context.Context, id skerry.LeaseID) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := again(ctx, s, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return s.client.Revoke(ctx, clientv3.LeaseID(id))
	})
	if err = wrap(err); skerry.KindOf(err) == skerry.NotFound && err != nil {
		return nil
	}
	return err
}

// errBehind asks for the table to be loaded anew.
var errBehind = fmt.Errorf("the watch fell behind what etcd keeps")

// own cuts the generation's prefix off a key in etcd.
func (s *Store) own(key []byte, g *generation) (string, bool) {
	return strings.CutPrefix(string(key), g.prefix)
}
