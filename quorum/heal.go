package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"github.com/skerryhq/skerry"
)

// A record that is damaged on the disk of one member is sound on those of the others, and etcd never looks: it compares nothing
// but logs. The record of a key at a revision is the same at all members, so it is taken from another server, verified, and put in
// the place of the damaged one, at the same revision: no index moves, and no watcher sees a change.

// Others asks other servers for the record at a key of etcd at a revision, as [Store.Copy] returns it.
type Others func(ctx context.Context, key string, revision int64) ([]byte, error)

const (
	// healWithin bounds the wait for other servers while a table is loaded. Records that did not come by then are asked for
	// again in the background, every healEvery.
	healWithin = 3 * time.Second
	healEvery  = 10 * time.Second
)

// errHealed asks for the table to be loaded anew.
var errHealed = errors.New("records were healed")

var errNoCopy = skerry.Errorf(skerry.NotFound, "this server has no sound record of that key at that revision")

// Copy returns the record at a key of etcd, at the revision that wrote it, for another server whose own is damaged. The error is
// of kind NotFound if this server has none that is sound.
func (s *Store) Copy(ctx context.Context, key string, revision int64) ([]byte, error) {
	own, ok := strings.CutPrefix(key, s.prefix)
	if s.member == nil || !ok || own == "" || revision <= 0 {
		return nil, errNoCopy
	}
	kv, err := s.at(ctx, key, revision)
	if err != nil {
		return nil, err
	}
	if kv == nil || !s.verify(kv, key, revision) {
		return nil, errNoCopy
	}
	return proto.Marshal(kv)
}

// at returns this member's own record at a key and revision; nil if it has none.
func (s *Store) at(ctx context.Context, key string, revision int64) (*mvccpb.KeyValue, error) {
	for _, options := range [][]clientv3.OpOption{nil, {clientv3.WithRev(revision)}} {
		r, err := s.member.local(ctx, key, options...)
		if err != nil {
			return nil, wrap(err)
		}
		if len(r.Kvs) == 1 && r.Kvs[0].ModRevision == revision {
			return r.Kvs[0], nil
		}
	}
	return nil, nil
}

// verify reports whether a record is that of a key at a revision, and is as it was written.
func (s *Store) verify(kv *mvccpb.KeyValue, key string, revision int64) bool {
	if string(kv.Key) != key || kv.ModRevision != revision {
		return false
	}
	own := strings.TrimPrefix(key, s.prefix)
	if rest, ok := strings.CutPrefix(own, "data/"); ok {
		_, own, _ = strings.Cut(rest, "/") // the checksum is over the key without its generation
	}
	_, how := decodeRecord(own, kv.Value, skerry.LeaseID(kv.Lease))
	return how == sound
}

// heal returns another server's record in place of a damaged one, and puts it on this member's disk. own is the key as the table
// has it.
func (s *Store) heal(ctx context.Context, key, own string, revision int64) (*mvccpb.KeyValue, error) {
	b, err := s.others(ctx, key, revision)
	if err != nil {
		return nil, err
	}
	kv := &mvccpb.KeyValue{}
	if err := proto.Unmarshal(b, kv); err != nil || !s.verify(kv, key, revision) {
		return nil, fmt.Errorf("another server sent a record of %q that is not sound", own)
	}
	onDisk := s.member.mend(kv, b)
	family, _, _ := strings.Cut(own, "/")
	s.metrics.healed.WithLabelValues(family).Inc()
	if s.damage.told.Add(1) <= maxTold {
		s.log.Warn("a damaged record was taken from another server", "key", own, "file", s.path(), "mended on disk", onDisk)
	}
	return kv, nil
}

// mend writes a record in the place of the damaged one with its key and revision. It reports whether that was found.
func (m *member) mend(kv *mvccpb.KeyValue, b []byte) bool {
	backend := m.etcd.Server.Backend()
	tx := backend.BatchTx()
	tx.LockOutsideApply()
	from := mvcc.RevToBytes(mvcc.Revision{Main: kv.ModRevision}, mvcc.NewRevBytes())
	to := mvcc.RevToBytes(mvcc.Revision{Main: kv.ModRevision + 1}, mvcc.NewRevBytes())
	at, records := tx.UnsafeRange(schema.Key, from, to, 0)
	found := false
	for i, record := range records {
		is := &mvccpb.KeyValue{}
		if proto.Unmarshal(record, is) == nil && bytes.Equal(is.Key, kv.Key) {
			tx.UnsafePut(schema.Key, bytes.Clone(at[i]), b)
			found = true
			break
		}
	}
	tx.Unlock()
	if found {
		backend.ForceCommit()
	}
	return found
}

// healAll replaces the damaged ones among records that were read from etcd.
func (s *Store) healAll(ctx context.Context, g *generation, all []*skerry.Record) {
	if s.others == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	for i, r := range all {
		if r.Damage == nil || ctx.Err() != nil {
			continue
		}
		if kv, err := s.heal(ctx, g.prefix+r.Key, r.Key, g.revision(r.Modified)); err == nil {
			all[i] = s.record(g, r.Key, kv)
		}
	}
}

// heals heals the damaged records of the table, again and again until ctx ends.
func (s *Store) heals(ctx context.Context) {
	t := time.NewTicker(healEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.damage.news:
		}
		g, healed := s.generation.Load(), false
		for _, key := range s.damage.list() {
			r := s.Snapshot().Get(key)
			if r == nil || r.Damage == nil {
				continue
			}
			if _, err := s.heal(ctx, g.prefix+key, key, g.revision(r.Modified)); err != nil {
				s.tellDamage([]*skerry.Record{r})
				continue
			}
			healed = true
		}
		if healed {
			select {
			case s.reload <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}
}
