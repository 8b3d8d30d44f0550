// Package clienttest has sources for the tests of programs that use package client.
package clienttest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

// Manual is a registry in memory whose answers the test decides. The zero value has
// no services; it is safe for concurrent use.
type Manual struct {
	// Unacknowledged withdrawals leave it open when callers know, as most registries
	// do: others are acknowledged at once.
	Unacknowledged bool

	mu       sync.Mutex
	services map[string]*answer
	revision uint64
	watched  map[string]int // how many watch a service
	failing  error
}

type answer struct {
	update  client.Update
	err     error
	n       int
	changed chan struct{}
}

func (m *Manual) answer(service string) *answer {
	a := m.services[service]
	if a == nil {
		a = &answer{changed: make(chan struct{})}
		if m.services == nil {
			m.services, m.watched = map[string]*answer{}, map[string]int{}
		}
		m.services[service] = a
	}
	return a
}

func (a *answer) set(u client.Update, err error) {
	a.update, a.err = u, err
	a.n++
	close(a.changed)
	a.changed = make(chan struct{})
}

// Set answers for a service with these addresses from now on. Missing instances count as
// gone without proof.
func (m *Manual) Set(service string, addresses ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	u := client.Update{Revision: m.revision}
	for _, a := range addresses {
		u.Instances = append(u.Instances, client.Instance{ID: a, Service: service, Address: a})
	}
	m.answer(service).set(u, nil)
}

// Update answers for a service with u from now on.
func (m *Manual) Update(service string, u client.Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = max(m.revision, u.Revision)
	m.answer(service).set(u, nil)
}

// Fail answers for a service with an error, until Set or Update.
func (m *Manual) Fail(service string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer(service).set(client.Update{}, err)
}

// FailAnnouncements lets registrations fail with err from now on; nil lets them succeed.
func (m *Manual) FailAnnouncements(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

// Watched returns how many watch a service.
func (m *Manual) Watched(service string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.watched[service]
}

// Watch implements [client.Source].
func (m *Manual) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		m.mu.Lock()
		a := m.answer(service)
		m.watched[service]++
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			m.watched[service]--
			m.mu.Unlock()
		}()
		for seen := 0; ; {
			m.mu.Lock()
			u, err, n, changed := a.update, a.err, a.n, a.changed
			m.mu.Unlock()
			if n > seen {
				if seen = n; !yield(u, err) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// announceEvery is how often an announcement that failed is tried again.
const announceEvery = time.Second

type announcement struct {
	m    *Manual
	i    client.Instance
	stop chan struct{}
	done chan struct{}
}

// Announce implements [client.Registry].
func (m *Manual) Announce(i client.Instance, _ time.Duration, report func(error)) client.Announcement {
	a := &announcement{m: m, i: i, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		for {
			report(m.announce(i))
			select {
			case <-a.stop:
				return
			case <-time.After(announceEvery):
			}
		}
	}()
	return a
}

func (m *Manual) announce(i client.Instance) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		return m.failing
	}
	a := m.answer(i.Service)
	if slices.ContainsFunc(a.update.Instances, func(o client.Instance) bool { return o.ID == i.ID }) {
		return nil
	}
	m.revision++
	a.set(client.Update{Revision: m.revision, Instances: append(slices.Clone(a.update.Instances), i)}, nil)
	return nil
}

// Withdraw implements [client.Announcement].
func (a *announcement) Withdraw(context.Context, time.Duration) (client.Withdrawal, error) {
	close(a.stop)
	<-a.done
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if a.m.failing != nil {
		return client.Withdrawal{}, fmt.Errorf("withdraw %s: %w", a.i.ID, a.m.failing)
	}
	s := a.m.answer(a.i.Service)
	a.m.revision++
	s.set(client.Update{
		Revision:  a.m.revision,
		Instances: slices.DeleteFunc(slices.Clone(s.update.Instances), func(o client.Instance) bool { return o.ID == a.i.ID }),
		Left:      []string{a.i.ID},
	}, nil)
	return client.Withdrawal{Safe: !a.m.Unacknowledged}, nil
}
