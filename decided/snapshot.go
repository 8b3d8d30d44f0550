package decided

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
)

// SaveSnapshot writes everything decided, as it is at one moment, and returns
// that moment's index and how many bytes the archive has.
func (s *Store) SaveSnapshot(w io.Writer, meta archive.Meta) (index uint64, bytes int64, err error) {
	now, to := s.KV.Snapshot(), &sized{Writer: w}
	meta.ID, meta.Index, meta.Taken = uuid.NewString(), now.Index(), time.Now().UTC()
	if err := archive.Write(to, meta, records(now)); err != nil {
		return 0, 0, err
	}
	s.counts.saved.note(to.bytes)
	return meta.Index, to.bytes, nil
}

// sized counts what passes.
type sized struct {
	io.Writer
	io.Reader
	bytes int64
}

// Write implements [io.Writer].
func (s *sized) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	s.bytes += int64(n)
	return n, err
}

// Read implements [io.Reader].
func (s *sized) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.bytes += int64(n)
	return n, err
}

// records are those worth keeping: who decides, and which leases run, is of the moment.
func records(now skerry.Snapshot) iter.Seq[archive.Record] {
	return func(yield func(archive.Record) bool) {
		for r := range now.All(skerry.Below(""), "") {
			if r.Key == leaderKey || strings.HasPrefix(r.Key, alivePrefix) {
				continue
			}
			if !yield(archive.Record{Key: r.Key, Value: r.Value, Created: r.Created, Modified: r.Modified}) {
				return
			}
		}
	}
}

// RestoreSnapshot makes the store hold what an archive holds, in one change. An
// archive that is damaged anywhere changes nothing. Sessions begin their TTL
// anew; all indexes are new, and greater than those of before and of the archive.
// It returns how many bytes the archive has.
func (s *Store) RestoreSnapshot(ctx context.Context, r io.Reader) (bytes int64, err error) {
	from := &sized{Reader: r}
	if err := s.restore(ctx, from); err != nil {
		return 0, err
	}
	s.counts.restored.note(from.bytes)
	return from.bytes, nil
}

func (s *Store) restore(ctx context.Context, r io.Reader) error {
	replacer, ok := s.KV.(skerry.Replacer)
	if !ok {
		return skerry.Errorf(skerry.Unsupported, "this store cannot be restored from a snapshot")
	}
	var all []skerry.Record
	meta, err := archive.Read(r, s.MaxSnapshot, func(one archive.Record) error {
		all = append(all, skerry.Record{Key: one.Key, Value: one.Value})
		return nil
	})
	if err != nil {
		return skerry.Errorf(skerry.Invalid, "%w", err)
	}
	leases, err := s.renewLeases(ctx, &all)
	if err == nil {
		err = replacer.Replace(ctx, meta.Index, all)
	}
	if err != nil {
		for _, l := range leases {
			s.KV.Revoke(ctx, l)
		}
	}
	return err
}

// renewLeases gives each session with a TTL a lease of its own.
func (s *Store) renewLeases(ctx context.Context, all *[]skerry.Record) (leases []skerry.LeaseID, err error) {
	for i := range *all {
		r := &(*all)[i]
		if !strings.HasPrefix(r.Key, sessionPrefix) {
			continue
		}
		session, err := decodeSession(r)
		if err != nil {
			return leases, skerry.Errorf(skerry.Invalid, "%w", err)
		}
		if session.TTL == 0 {
			continue
		}
		if session.Lease, err = s.KV.Grant(ctx, session.TTL); err != nil {
			return leases, err
		}
		leases = append(leases, session.Lease)
		if r.Value, err = json.Marshal(session); err != nil {
			return leases, fmt.Errorf("session %s: %w", session.ID, err)
		}
		*all = append(*all, skerry.Record{Key: alivePrefix + session.ID, Lease: session.Lease})
	}
	return leases, nil
}
