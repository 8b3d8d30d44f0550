package nacos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"

	"github.com/skerryhq/skerry/client"
)

// announcement keeps an instance registered over a connection of its own: Nacos takes
// one instance of a service from each, and forgets it when the connection ends.
type announcement struct {
	s           *Source
	link        *link
	instance    client.Instance
	group, name string
	renew       time.Duration
	report      func(error)
	cancel      context.CancelFunc
	done        sync.WaitGroup
	tried       bool // Nacos may have it; of run, then of Withdraw, as registered
	registered  bool
}

// Announce implements [client.Registry].
func (s *Source) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	ctx, cancel := context.WithCancel(context.Background())
	a := &announcement{s: s, link: newLink(s), instance: i, renew: max(ttl/3, time.Second), report: report, cancel: cancel}
	a.group, a.name = s.name(i.Service)
	a.done.Go(func() { a.run(ctx) })
	return a
}

// run registers until ctx ends. An attempt that fails is made again soon.
func (a *announcement) run(ctx context.Context) {
	var pause client.Backoff
	for ctx.Err() == nil {
		registered, err := a.keep(ctx)
		if ctx.Err() != nil {
			return
		}
		if registered {
			pause.Reset()
		}
		a.report(fmt.Errorf("client/nacos: register %s: %w", a.instance.ID, err))
		pause.Wait(ctx)
	}
}

// keep registers and stays until the connection is lost. It reports whether the
// instance was registered.
func (a *announcement) keep(ctx context.Context) (registered bool, err error) {
	times, changed, err := a.link.connected(ctx)
	if err != nil {
		return false, err
	}
	if err := a.ask(ctx, "registerInstance"); err != nil {
		return false, err
	}
	a.registered = true
	a.report(nil)
	renew := time.NewTicker(a.renew) // the link makes sure of the connection
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			a.report(nil)
		case <-changed:
			var now int
			if now, changed, err = a.link.state(); err != nil {
				return true, err
			} else if now == times {
				continue
			}
			times = now // another server, without a pause
			if err := a.ask(ctx, "registerInstance"); err != nil {
				return true, err
			}
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

// ask registers or withdraws.
func (a *announcement) ask(ctx context.Context, what string) error {
	entry, err := a.s.entry(&a.instance)
	if err != nil {
		return err
	}
	a.tried = true
	_, err = a.link.request(ctx, rpc_request.NewInstanceRequest(a.s.namespace, a.name, a.group, what, entry), "InstanceResponse")
	return err
}

// Withdraw implements [client.Announcement]. Nacos cannot say when all callers know.
func (a *announcement) Withdraw(ctx context.Context, _ time.Duration) (client.Withdrawal, error) {
	a.cancel()
	a.done.Wait()
	// The end of the connection withdraws the instance too.
	defer a.link.close()
	if !a.tried {
		return client.Withdrawal{}, nil
	}
	if err := a.ask(ctx, "deregisterInstance"); err != nil && a.registered {
		return client.Withdrawal{}, fmt.Errorf("client/nacos: withdraw %s: %w", a.instance.ID, err)
	}
	return client.Withdrawal{}, nil
}
