package nacos

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/model"

	"github.com/skerryhq/skerry/client"
)

// Watch implements [client.Source]: a subscription, and its pushes. The loss of the
// connection is reported at once; the next connection subscribes again.
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		l := s.acquire()
		defer s.release()
		f := &follower{s: s, link: l, service: service, yield: yield, fresh: make(chan struct{}, 1)}
		f.group, f.name = s.name(service)
		l.join(f)
		defer l.leave(f)
		var pause client.Backoff
		for ctx.Err() == nil {
			begun, err := f.follow(ctx)
			if f.enough || ctx.Err() != nil {
				return
			}
			if begun {
				pause.Reset()
			}
			f.away = true
			if !yield(client.Update{}, fmt.Errorf("client/nacos: watch %s: %w", service, err)) {
				return
			}
			pause.Wait(ctx)
		}
	}
}

// join has pushes handed to f.
func (l *link) join(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers[f] = struct{}{}
}

// leave ends that, and the subscription where it was the last one's.
func (l *link) leave(f *follower) {
	l.mu.Lock()
	delete(l.followers, f)
	wanted, up := false, l.wire != nil
	for other := range l.followers {
		wanted = wanted || other.group == f.group && other.name == f.name
	}
	left := len(l.followers)
	l.mu.Unlock()
	if wanted || !up || left == 0 {
		return
	}
	// The call does not wait for it. Should another follower have come meanwhile, that
	// one subscribes anew within refreshEvery.
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	go func() {
		defer cancel()
		_, _ = l.request(ctx, f.question(false), subscribed) // pushes without a follower are left out
	}()
}

// follower follows one service for one Watch.
type follower struct {
	s                    *Source
	link                 *link
	service, group, name string
	yield                func(client.Update, error) bool
	enough               bool      // it does not want more
	away                 bool      // the server did not answer
	settled              time.Time // nothing is gone before

	mu    sync.Mutex
	info  *model.Service // the latest; nil before the first
	fresh chan struct{}  // that info is another
}

// offer takes a list in, unless there is a newer one.
func (f *follower) offer(info *model.Service, pushed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Pushes come in order. An answer may be overtaken by one.
	if f.info != nil && (info.LastRefTime < f.info.LastRefTime || !pushed && info.LastRefTime == f.info.LastRefTime) {
		return
	}
	f.info = info
	select {
	case f.fresh <- struct{}{}:
	default:
	}
}

// forget makes way for lists of another server, whose clock may be another.
func (f *follower) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.info = nil
}

// follow follows the service over one connection. It reports whether it had begun.
func (f *follower) follow(ctx context.Context) (begun bool, err error) {
	times, changed, err := f.link.connected(ctx)
	if err != nil {
		return false, err
	}
	if err := f.subscribe(ctx); err != nil {
		return false, err
	}
	var settles <-chan time.Time
	if f.away {
		f.away, f.settled = false, time.Now().Add(f.s.settle)
		settles = time.After(f.s.settle)
	}
	refresh := time.NewTicker(refreshEvery)
	defer refresh.Stop()
	for {
		select {
		case <-f.fresh:
			f.tell()
		case <-settles:
			f.tell()
		case <-refresh.C:
			err = f.subscribe(ctx)
		case <-changed:
			var now int
			if now, changed, err = f.link.state(); err == nil && now != times {
				times = now // another server, without a pause
				err = f.subscribe(ctx)
			}
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil || f.enough {
			return true, err
		}
	}
}

// subscribed is the kind of answer to a subscription, and to its end.
const subscribed = "SubscribeServiceResponse"

// question is the one for a subscription, or for its end.
func (f *follower) question(subscribe bool) rpc_request.IRequest {
	return rpc_request.NewSubscribeServiceRequest(f.s.namespace, f.name, f.group, f.s.clusters, subscribe)
}

// subscribe subscribes, which may be done again, and takes the list in.
func (f *follower) subscribe(ctx context.Context) error {
	f.forget()
	a, err := f.link.request(ctx, f.question(true), subscribed)
	if err != nil {
		return err
	}
	if a.ServiceInfo == nil {
		return errors.New("the answer to a subscription holds no list")
	}
	f.offer(a.ServiceInfo, false)
	return nil
}

// tell yields the list as it is.
func (f *follower) tell() {
	f.mu.Lock()
	info := f.info
	f.mu.Unlock()
	if info == nil {
		return // it is being asked for
	}
	u := client.Update{Instances: instances(f.service, info.Hosts), Unsettled: time.Now().Before(f.settled)}
	f.enough = !f.yield(u, nil)
}
