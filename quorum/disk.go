package quorum

import (
	"context"
	"errors"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/replica"
)

// Disk is the table that is shown until a store is open: empty, or what the disk of a member of
// several has, while it waits for a majority of them.
type Disk struct{ table *replica.Table }

// NewDisk returns an empty table.
func NewDisk() *Disk { return &Disk{replica.NewTable(1)} }

// diskAfter is how long a member waits for a majority before it shows what its disk has.
const diskAfter = time.Second

var errNothing = errors.New("the disk has nothing that can be shown")

// read fills the table from the member's own data: no other member is asked.
func (d *Disk) read(ctx context.Context, m *member) error {
	s := &Store{member: m, prefix: DefaultPrefix, log: m.log, metrics: newMetrics()}
	r, err := m.local(ctx, s.prefix+pointerKey, "", 0)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		return errNothing
	}
	g, err := s.parseGeneration(r.Kvs[0])
	if err != nil {
		return err
	}
	if g.Steps != "" {
		return errNothing // a large change is half made
	}
	revision := r.Header.Revision
	var all []*skerry.Record
	for from, end := g.prefix, clientv3.GetPrefixRangeEnd(g.prefix); ; {
		if r, err = m.local(ctx, from, end, revision); err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			if key, ok := s.own(kv.Key, g); ok {
				all = append(all, s.record(g, key, kv))
			}
		}
		if !r.More {
			break
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
	d.table.Reset(g.index(revision), slices.Values(all))
	return nil
}

// local reads a page of this member's own data, as it was at a revision; 0: as it is.
func (m *member) local(ctx context.Context, from, end string, revision int64) (*pb.RangeResponse, error) {
	r := &pb.RangeRequest{Key: []byte(from), Revision: revision, Limit: pageSize, Serializable: true}
	if end != "" {
		r.RangeEnd = []byte(end)
	}
	return m.etcd.Server.Range(ctx, r)
}
