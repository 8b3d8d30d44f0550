package quorum

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// reopenEvery is how long to wait before a store that could not be opened is
// tried again.
const reopenEvery = 5 * time.Second

// Eventual is a KV that opens in the background, so that registration and discovery
// neither wait for it nor fail with it. Until it is open the table is that of a [Disk], and
// operations on the store wait for it as long as for a quorum.
type Eventual struct {
	open  func(context.Context) (*Store, error)
	log   *slog.Logger
	disk  *Disk
	ready chan struct{}
	store atomic.Pointer[Store]

	mu     sync.Mutex
	failed error
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Eventually begins to open a store. Until it is open the table is that of the disk; nil: empty.
func Eventually(disk *Disk, open func(context.Context) (*Store, error), log *slog.Logger) *Eventual {
	if disk == nil {
		disk = NewDisk()
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Eventual{open: open, log: log, disk: disk, ready: make(chan struct{}), cancel: cancel}
	e.done.Go(func() { e.run(ctx) })
	return e
}

// Never is the KV of a process that has none; reason tells the operator the remedy.
func Never(reason string) *Eventual {
	return &Eventual{
		disk: NewDisk(), ready: make(chan struct{}), cancel: func() {},
		failed: &skerry.Error{Kind: skerry.Unavailable, Subject: "store", Message: reason},
	}
}

// run keeps a store open until ctx ends. One that died of a full disk is opened anew
// when there is room, and one whose member was removed at once; until then its table is
// shown as it was.
func (e *Eventual) run(ctx context.Context) {
	for {
		started := time.Now()
		s := e.opened(ctx)
		if s == nil {
			return
		}
		if old := e.store.Swap(s); old != nil {
			old.WakeAll() // watchers look again, here and below
		} else {
			close(e.ready)
			e.disk.table.WakeAll()
		}
		e.log.Info("the quorum store is open", "after", time.Since(started).Round(time.Millisecond))
		select {
		case <-s.died():
		case <-ctx.Done():
			return
		}
		if errors.Is(s.member.dead.reason(), ErrRemoved) {
			e.log.Warn("the quorum store is opened anew, since its member was removed from the cluster")
			_ = s.Close()
			continue
		}
		if !s.awaitRoom(ctx, e.log) {
			return
		}
		s.abandon()
	}
}

// opened tries until a store is open, and returns nil when ctx ends before.
func (e *Eventual) opened(ctx context.Context) *Store {
	for {
		s, err := e.open(ctx)
		if err == nil {
			return s
		}
		if ctx.Err() != nil {
			return nil
		}
		e.mu.Lock()
		news := e.failed == nil || e.failed.Error() != wrap(err).Error()
		e.failed = wrap(err)
		e.mu.Unlock()
		if news {
			e.log.Error("the quorum store could not be opened; registration and discovery go on, and it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reopenEvery):
		}
	}
}

// Ready reports whether the store is open, and else why not, where that is known.
func (e *Eventual) Ready() (bool, error) {
	if e.store.Load() != nil {
		return true, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return false, e.failed
}

// Close stops the store, or the opening of it.
func (e *Eventual) Close() error {
	e.cancel()
	e.done.Wait()
	if s := e.store.Load(); s != nil {
		return s.Close()
	}
	return nil
}

// wait returns the store once it is open.
func (e *Eventual) wait(ctx context.Context) (*Store, error) {
	if s := e.store.Load(); s != nil {
		return s, nil
	}
	// A failed open fails at once: the next attempt may be long in coming.
	if _, err := e.Ready(); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case <-e.ready:
		return e.store.Load(), nil
	case <-ctx.Done():
		return nil, skerry.Errorf(skerry.Unavailable, "No cluster leader: the quorum store is not open yet")
	}
}

// Snapshot implements [skerry.KV].
func (e *Eventual) Snapshot() skerry.Snapshot {
	if s := e.store.Load(); s != nil {
		return s.Snapshot()
	}
	return e.disk.table.Snapshot()
}

// Watch implements [skerry.KV].
func (e *Eventual) Watch(r skerry.Range) (uint64, <-chan struct{}) {
	for {
		s := e.store.Load()
		index, changed := e.tableOf(s).Watch(r)
		if e.store.Load() == s { // else it may never change again
			return index, changed
		}
	}
}

func (e *Eventual) tableOf(s *Store) *replica.Table {
	if s == nil {
		return e.disk.table
	}
	return s.Table
}

// Unwatch implements [skerry.KV].
func (e *Eventual) Unwatch(changed <-chan struct{}) {
	e.disk.table.Unwatch(changed) // a channel is of one of them
	if s := e.store.Load(); s != nil {
		s.Unwatch(changed)
	}
}

// Changed implements [skerry.KV].
func (e *Eventual) Changed(r skerry.Range) uint64 {
	if s := e.store.Load(); s != nil {
		return s.Changed(r)
	}
	return e.disk.table.Changed(r)
}

// Changes implements [skerry.Feed].
func (e *Eventual) Changes(prefix string, since uint64) ([]string, bool) {
	if s := e.store.Load(); s != nil {
		return s.Changes(prefix, since)
	}
	return nil, false
}

// Sync implements [skerry.KV].
func (e *Eventual) Sync(ctx context.Context) error {
	s, err := e.wait(ctx)
	if err != nil {
		return err
	}
	return s.Sync(ctx)
}

// Update implements [skerry.KV].
func (e *Eventual) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	s, err := e.wait(ctx)
	if err != nil {
		return 0, err
	}
	return s.Update(ctx, change)
}

// Grant implements [skerry.KV].
func (e *Eventual) Grant(ctx context.Context, ttl time.Duration) (skerry.LeaseID, error) {
	s, err := e.wait(ctx)
	if err != nil {
		return 0, err
	}
	return s.Grant(ctx, ttl)
}

// Renew implements [skerry.KV].
func (e *Eventual) Renew(ctx context.Context, id skerry.LeaseID) error {
	s, err := e.wait(ctx)
	if err != nil {
		return err
	}
	return s.Renew(ctx, id)
}

// Revoke implements [skerry.KV].
func (e *Eventual) Revoke(ctx context.Context, id skerry.LeaseID) error {
	s, err := e.wait(ctx)
	if err != nil {
		return err
	}
	return s.Revoke(ctx, id)
}

// Copy is [Store.Copy]. It does not wait for a store that is not open.
func (e *Eventual) Copy(ctx context.Context, key string, revision int64) ([]byte, error) {
	if s := e.store.Load(); s != nil {
		return s.Copy(ctx, key, revision)
	}
	return nil, errNoCopy
}

// Replace implements [skerry.Replacer].
func (e *Eventual) Replace(ctx context.Context, atLeast uint64, records iter.Seq2[skerry.Record, error]) error {
	s, err := e.wait(ctx)
	if err != nil {
		return err
	}
	return s.Replace(ctx, atLeast, records)
}
