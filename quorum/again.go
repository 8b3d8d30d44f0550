package quorum

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
)

// againEvery is how long to wait before a leader that did not answer is asked anew.
const againEvery = 20 * time.Millisecond

var (
	errUnsure = errors.New("the leader changed")
	errClosed = errors.New("the store is closed")
)

// several reports whether there are other members: then a request may be lost with the
// leader that it was sent to.
func (s *Store) several() bool {
	return s.member != nil && s.member.peers && len(s.member.etcd.Server.Cluster().Members()) > 1
}

// gone is closed when this store will answer nothing more, for the reason of end: its
// member died, or it is being closed.
func (s *Store) gone() <-chan struct{} { return s.over.Done() }

func (s *Store) end() error { return context.Cause(s.over) }

// again makes a request that may be made twice. It repeats the request while the leader
// changes or is missing, until ctx ends.
func again[T any](ctx context.Context, s *Store, request func(context.Context) (T, error)) (T, error) {
	return repeated(ctx, s, request, sure)
}

// asked is again for a read: etcd itself gives it up when the leader changes.
func asked[T any](ctx context.Context, s *Store, request func(context.Context) (T, error)) (T, error) {
	return repeated(ctx, s, request, once)
}

func repeated[T any](ctx context.Context, s *Store, request func(context.Context) (T, error),
	attempt func(context.Context, *Store, func(context.Context) (T, error)) (T, error)) (T, error) {
	if !s.several() {
		return request(ctx)
	}
	for {
		got, err := attempt(ctx, s, request)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil || skerry.KindOf(wrap(err)) != skerry.Unavailable {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-s.gone():
			return got, s.end()
		case <-time.After(againEvery):
		}
	}
}

// sure makes a request and gives it up when it is in doubt.
func sure[T any](ctx context.Context, s *Store, request func(context.Context) (T, error)) (got T, err error) {
	if !s.several() {
		return request(ctx)
	}
	return unless(ctx, s, request, s.member.leads.doubt())
}

// once makes a request.
func once[T any](ctx context.Context, s *Store, request func(context.Context) (T, error)) (got T, err error) {
	return unless(ctx, s, request, nil)
}

// unless makes a request and gives it up when unsure is closed, or the store is gone.
func unless[T any](ctx context.Context, s *Store, request func(context.Context) (T, error), unsure <-chan struct{}) (got T, err error) {
	type answer struct {
		got T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan answer, 1)
	go func() {
		got, err := request(ctx)
		answered <- answer{got, err}
	}()
	select {
	case a := <-answered:
		return a.got, a.err
	case <-unsure:
		return got, errUnsure
	case <-s.gone():
		return got, s.end()
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// get reads keys as the majority has them.
func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return asked(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) { return s.client.Get(ctx, key, options...) })
}
