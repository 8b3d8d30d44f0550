// Package replicatest has a store in memory, for tests of packages that stand on one.
package replicatest

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// Memory implements [skerry.KV]. It is never unavailable.
type Memory struct {
	*replica.Table
	mu     sync.Mutex
	leases map[skerry.LeaseID]*memoryLease
	next   skerry.LeaseID
}

type memoryLease struct {
	ttl   time.Duration
	timer *time.Timer
}

// NewMemory returns an empty KV.
func NewMemory() *Memory {
	return &Memory{Table: replica.NewTable(1), leases: map[skerry.LeaseID]*memoryLease{}}
}

// Damage marks the record of a key as damaged.
func (m *Memory) Damage(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Snapshot()
	index := now.Index() + 1
	r := &skerry.Record{Key: key, Created: index, Modified: index, Damage: skerry.Damaged(key, "memory")}
	if was := now.Get(key); was != nil {
		r.Created, r.Lease = was.Created, was.Lease
	}
	m.Apply(index, []replica.Change{{Key: key, Record: r}})
}

// Sync implements [skerry.KV].
func (m *Memory) Sync(context.Context) error { return nil }

// Update implements [skerry.KV].
func (m *Memory) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	return m.Table.Update(ctx, m, change)
}

// Commit implements [replica.Engine].
func (m *Memory) Commit(_ context.Context, c *replica.Commit) (uint64, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Snapshot()
	for _, r := range c.Reads {
		var modified uint64
		if is := now.Get(r.Key); is != nil {
			modified = is.Modified
		}
		if modified != r.Modified {
			return now.Index(), true, nil
		}
	}
	for _, prefix := range c.Ranges {
		if now.Changed(skerry.Below(prefix)) > c.At {
			return now.Index(), true, nil
		}
	}
	index := now.Index() + 1
	var changes []replica.Change
	for _, prefix := range c.Cleared {
		for r := range now.All(skerry.Below(prefix), "") {
			changes = append(changes, replica.Change{Key: r.Key})
		}
	}
	for _, key := range c.Deletes {
		changes = append(changes, replica.Change{Key: key})
	}
	for _, p := range c.Puts {
		if p.Lease != 0 && m.leases[p.Lease] == nil {
			return 0, false, skerry.Errorf(skerry.NotFound, "the lease has ended")
		}
		r := &skerry.Record{Key: p.Key, Value: p.Value, Lease: p.Lease, Created: index, Modified: index}
		if was := now.Get(p.Key); was != nil {
			r.Created = was.Created
		}
		changes = append(changes, replica.Change{Key: p.Key, Record: r})
	}
	m.Apply(index, changes)
	return index, false, nil
}

// Grant implements [skerry.KV].
func (m *Memory) Grant(_ context.Context, ttl time.Duration) (skerry.LeaseID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	id := m.next
	ttl = (ttl + time.Second - 1).Truncate(time.Second)
	m.leases[id] = &memoryLease{ttl: ttl, timer: time.AfterFunc(ttl, func() { m.Revoke(context.Background(), id) })}
	return id, nil
}

// Renew implements [skerry.KV].
func (m *Memory) Renew(_ context.Context, id skerry.LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil || !l.timer.Reset(l.ttl) {
		return skerry.Errorf(skerry.NotFound, "the lease has ended")
	}
	return nil
}

// Revoke implements [skerry.KV].
func (m *Memory) Revoke(_ context.Context, id skerry.LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[id]
	if l == nil {
		return nil
	}
	l.timer.Stop()
	delete(m.leases, id)
	now := m.Snapshot()
	var changes []replica.Change
	for r := range now.All(skerry.Below(""), "") {
		if r.Lease == id {
			changes = append(changes, replica.Change{Key: r.Key})
		}
	}
	if len(changes) > 0 {
		m.Apply(now.Index()+1, changes)
	}
	return nil
}

// Replace implements [skerry.Replacer].
func (m *Memory) Replace(_ context.Context, atLeast uint64, records iter.Seq2[skerry.Record, error]) error {
	var all []skerry.Record
	for r, err := range records {
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	index := max(m.Index(), atLeast) + 1
	m.Reset(index, func(yield func(*skerry.Record) bool) {
		for _, r := range all {
			r.Created, r.Modified = index, index
			if !yield(&r) {
				return
			}
		}
	})
	return nil
}
