package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/skerryhq/skerry/client"
)

// Watch implements [client.Source]: the inventory, then the changes. A watch that ends is
// begun anew with an inventory; only if that fails too, the source does not answer.
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		s.acquire()
		defer s.release()
		f := &follower{s: s, service: service, prefix: s.path + service + "/", yield: yield}
		var pause client.Backoff
		for ctx.Err() == nil {
			watched, err := f.follow(ctx)
			if f.enough || ctx.Err() != nil {
				return
			}
			if watched {
				pause.Reset()
			} else if !yield(client.Update{}, err) {
				return
			}
			pause.Wait(ctx)
		}
	}
}

// follower follows one service for one Watch.
type follower struct {
	s               *Source
	service, prefix string
	yield           func(client.Update, error) bool
	enough          bool // it does not want more

	instances map[string]client.Instance // by key
	revision  int64
	epoch     string
}

var errEnough = errors.New("client/etcd: the caller has enough")

// follow takes an inventory and follows the changes until that ends. It reports
// whether the watch had begun.
func (f *follower) follow(ctx context.Context) (watched bool, err error) {
	c, err := f.s.connection()
	if err != nil {
		return false, err
	}
	if err := f.inventory(ctx, c); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	// A stream of our own: the client's watcher resumes a lost stream by itself, and
	// would wait in silence for a revision that a cluster without its data reaches late.
	stream, err := etcdserverpb.NewWatchClient(c.ActiveConnection()).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return false, fmt.Errorf("client/etcd: watch %s: %w", f.prefix, err)
	}
	create := &etcdserverpb.WatchCreateRequest{
		Key: []byte(f.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(f.prefix)), StartRevision: f.revision + 1,
	}
	err = stream.Send(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{CreateRequest: create}})
	if err != nil {
		return false, fmt.Errorf("client/etcd: watch %s: %w", f.prefix, err)
	}
	for {
		answer, err := stream.Recv()
		if err == nil {
			err = f.take(answer)
		}
		if err != nil {
			return watched, fmt.Errorf("client/etcd: watch %s: %w", f.prefix, err)
		}
		watched = true
	}
}

// inventory reads all instances.
func (f *follower) inventory(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := asking(ctx)
	defer cancel()
	answer, err := c.Get(ctx, f.prefix, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("client/etcd: read %s: %w", f.prefix, err)
	}
	before := f.instances
	f.instances = make(map[string]client.Instance, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		f.put(kv, before)
	}
	f.revision, f.epoch = answer.Header.Revision, strconv.FormatUint(answer.Header.ClusterId, 16)
	return f.tell()
}

// put takes an instance in. Where its value cannot be read, the last one stays.
func (f *follower) put(kv *mvccpb.KeyValue, before map[string]client.Instance) {
	key := string(kv.Key)
	i, ours, err := f.s.layout.instance(strings.TrimPrefix(key, f.prefix), kv.Value)
	if err != nil {
		was, known := before[key]
		slog.Warn("a key of the service in etcd cannot be read as an instance", "key", key, "kept as it was", known, "error", err)
		if i = was; !known {
			return
		}
	}
	if ours {
		i.Service = f.service
		f.instances[key] = i
	}
}

// take takes an answer of the watch in.
func (f *follower) take(answer *etcdserverpb.WatchResponse) error {
	switch {
	case answer.CompactRevision > 0:
		return fmt.Errorf("what happened before revision %d is forgotten", answer.CompactRevision)
	case answer.Canceled:
		return errors.New(cmp.Or(answer.CancelReason, "canceled by the server"))
	case answer.Header.GetRevision() < f.revision:
		return fmt.Errorf("the data is at revision %d and was at %d: some is lost", answer.Header.GetRevision(), f.revision)
	case len(answer.Events) == 0:
		return nil
	}
	for _, e := range answer.Events {
		if e.Type == mvccpb.DELETE {
			delete(f.instances, string(e.Kv.Key))
		} else {
			f.put(e.Kv, f.instances)
		}
		f.revision = max(f.revision, e.Kv.ModRevision)
	}
	return f.tell()
}

// tell yields the list as it is.
func (f *follower) tell() error {
	u := client.Update{
		Instances: slices.SortedFunc(maps.Values(f.instances), func(a, b client.Instance) int { return cmp.Compare(a.ID, b.ID) }),
		Revision:  uint64(f.revision), Epoch: f.epoch,
	}
	if f.enough = !f.yield(u, nil); f.enough {
		return errEnough
	}
	return nil
}
