package clienttest

import (
	"context"
	"errors"
	"time"

	"github.com/skerryhq/skerry/client"
)

// ErrDown is the error of a registry that is down in a script.
var ErrDown = errors.New("clienttest: the registry is down")

// Step changes a registry after a while.
type Step struct {
	// After is how long after the step before it.
	After time.Duration
	// Do is the change.
	Do func(*Manual)
}

// Play goes through the steps, and returns after the last, or when ctx ends. With
// [testing/synctest] it takes no time.
//
//	go m.Play(ctx,
//		clienttest.Step{After: time.Second, Do: clienttest.Down("orders")},
//		clienttest.Step{After: time.Minute, Do: clienttest.Lists("orders")}, // back, and empty
//	)
func (m *Manual) Play(ctx context.Context, steps ...Step) {
	for _, s := range steps {
		timer := time.NewTimer(s.After)
		select {
		case <-timer.C:
			s.Do(m)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Lists is a step after which a service has these addresses; missing ones count as gone
// without proof, and registrations succeed.
func Lists(service string, addresses ...string) func(*Manual) {
	return func(m *Manual) {
		m.FailAnnouncements(nil)
		m.Set(service, addresses...)
	}
}

// Down is a step after which the registry does not answer for these services, and takes
// no registrations.
func Down(services ...string) func(*Manual) {
	return func(m *Manual) {
		m.FailAnnouncements(ErrDown)
		for _, service := range services {
			m.Fail(service, ErrDown)
		}
	}
}

// Lost is a step after which the registry answers and has lost all that it knew of a
// service; its history begins anew.
func Lost(service string) func(*Manual) {
	return func(m *Manual) {
		m.FailAnnouncements(nil)
		m.Update(service, client.Update{Revision: 1, Epoch: "another"})
	}
}
