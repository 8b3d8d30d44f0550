package union

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

// registry is a union of sources some of which take registrations.
type registry struct {
	*union
	members []client.Registry
}

// Announce implements [client.Registry]: in all that take registrations. It counts as
// registered as soon as it is in one; later reports name those where it is not.
func (r *registry) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	s := &status{report: report, errs: make([]error, len(r.members))}
	var a announcement
	for n, one := range r.members {
		a = append(a, one.Announce(i, ttl, func(err error) { s.set(n, err) }))
	}
	return a
}

// status joins the reports of the registries.
type status struct {
	mu         sync.Mutex
	report     func(error)
	errs       []error
	registered bool
}

func (s *status) set(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[n] = err
	if !s.registered && err == nil {
		s.registered = true
		s.report(nil)
	}
	s.report(errors.Join(s.errs...))
}

type announcement []client.Announcement

// Withdraw implements [client.Announcement]. The counts are those of all together.
func (a announcement) Withdraw(ctx context.Context, drain time.Duration) (client.Withdrawal, error) {
	errs, each := make([]error, len(a)), make([]client.Withdrawal, len(a))
	var all sync.WaitGroup
	for n, one := range a {
		all.Go(func() { each[n], errs[n] = one.Withdraw(ctx, drain) })
	}
	all.Wait()
	sum := client.Withdrawal{Safe: true, Counted: true}
	for _, w := range each {
		sum.Safe, sum.Counted = sum.Safe && w.Safe, sum.Counted && (w.Counted || w.Safe)
		sum.Acked, sum.Pending, sum.Gone = sum.Acked+w.Acked, sum.Pending+w.Pending, sum.Gone+w.Gone
		sum.Waiting = append(sum.Waiting, w.Waiting...)
	}
	return sum, errors.Join(errs...)
}
