package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry/client"
)

// announcement keeps an instance's key under a lease.
type announcement struct {
	s          *Source
	key, value string
	ttl        time.Duration
	report     func(error)
	cancel     context.CancelFunc
	done       sync.WaitGroup
	lease      clientv3.LeaseID // of run, then of Withdraw; 0 while there is none
}

// Announce implements [client.Registry].
func (s *Source) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	ctx, cancel := context.WithCancel(context.Background())
	id, value := s.layout.entry(i)
	a := &announcement{s: s, key: s.path + i.Service + "/" + id, value: value, ttl: ttl, report: report, cancel: cancel}
	s.acquire()
	a.done.Go(func() { a.run(ctx) })
	return a
}

// run registers and renews until ctx ends. An attempt that fails is made again soon.
func (a *announcement) run(ctx context.Context) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), a.ttl)
		err := a.keep(within)
		cancel()
		if ctx.Err() != nil {
			return
		}
		pause := a.ttl / 3
		if err != nil {
			err = fmt.Errorf("client/etcd: register %s: %w", a.key, err)
			pause = min(pause, time.Second)
		}
		a.report(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// keep makes sure that there is a lease and that the key is under it.
func (a *announcement) keep(ctx context.Context) error {
	c, err := a.s.connection()
	if err != nil {
		return err
	}
	if a.lease != 0 {
		err := renew(ctx, c, a.lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			a.lease = 0
		} else if err != nil {
			return err
		}
	}
	if a.lease == 0 {
		lease, err := c.Grant(ctx, int64(math.Ceil(a.ttl.Seconds())))
		if err != nil {
			return err
		}
		a.lease = lease.ID
	}
	// Someone may have deleted the key while the lease lived. To look costs the
	// cluster less than to write.
	found, err := c.Get(ctx, a.key)
	if err != nil {
		return err
	}
	if len(found.Kvs) == 1 && found.Kvs[0].Lease == int64(a.lease) && string(found.Kvs[0].Value) == a.value {
		return nil
	}
	_, err = c.Put(ctx, a.key, a.value, clientv3.WithLease(a.lease))
	return err
}

// renew renews a lease once. etcd's KeepAliveOnce would ask again without a pause, for
// as long as there is no connection.
func renew(ctx context.Context, c *clientv3.Client, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := etcdserverpb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil && err != io.EOF {
		return err
	}
	answer, err := stream.Recv() // also the reason why nothing could be sent
	if err != nil {
		return err
	}
	if answer.TTL <= 0 {
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

// Withdraw implements [client.Announcement]. etcd cannot say when all callers know.
func (a *announcement) Withdraw(ctx context.Context, _ time.Duration) (client.Withdrawal, error) {
	a.cancel()
	a.done.Wait()
	defer a.s.release()
	if a.lease == 0 {
		return client.Withdrawal{}, nil
	}
	c, err := a.s.connection()
	if err != nil {
		return client.Withdrawal{}, err
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	if _, err = c.Revoke(ctx, a.lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return client.Withdrawal{}, fmt.Errorf("client/etcd: withdraw %s: %w", a.key, err)
	}
	return client.Withdrawal{}, nil
}
