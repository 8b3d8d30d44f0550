package quorum

import (
	"context"
	"errors"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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
	r, err := m.local(ctx, s.prefix+pointerKey)
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
	all, err := s.records(ctx, m.local, g, r.Header.Revision)
	if err != nil {
		return err
	}
	d.table.Reset(g.index(r.Header.Revision), slices.Values(all))
	return nil
}

// local is a [reader] of this member's own data, which may be old.
func (m *member) local(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return m.client.Get(ctx, key, append(options, clientv3.WithSerializable())...)
}
