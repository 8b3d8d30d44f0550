package decided

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
)

// SaveSnapshot writes everything decided, as it is at one moment, and returns
// that moment's index and how many bytes the archive has. A damaged record is an
// error, and then nothing is written: a snapshot that lacks something must not look
// whole. The tokens of prepared queries are left out, or with queryTokens stay sealed.
func (s *Store) SaveSnapshot(w io.Writer, meta archive.Meta, queryTokens bool) (index uint64, bytes int64, err error) {
	now, to := s.KV.Snapshot(), &sized{Writer: w}
	meta.ID, meta.Index, meta.Taken = uuid.NewString(), now.Index(), time.Now().UTC()
	if err := archive.Write(to, meta, records(now, queryTokens)); err != nil {
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
func records(now skerry.Snapshot, queryTokens bool) iter.Seq2[archive.Record, error] {
	return func(yield func(archive.Record, error) bool) {
		for r := range now.All(skerry.Below(""), "") {
			if r.Key == leaderKey || strings.HasPrefix(r.Key, alivePrefix) {
				continue
			}
			value, err := r.Value, r.Damage
			if err == nil && strings.HasPrefix(r.Key, queryPrefix) {
				value, err = withoutToken(value, queryTokens)
			}
			if !yield(archive.Record{Key: r.Key, Value: value, Created: r.Created, Modified: r.Modified}, err) {
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
	// It is read twice: to the end, where its checksums are, before anything changes.
	file, err := s.spool(r)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	meta, err := archive.Read(file, s.MaxSnapshot, func(one archive.Record) error {
		if strings.HasPrefix(one.Key, sessionPrefix) {
			_, err := decodeSession(&skerry.Record{Key: one.Key, Value: one.Value})
			return err
		}
		return nil
	})
	if err != nil {
		return refusedSnapshot(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var leases []skerry.LeaseID
	err = replacer.Replace(ctx, meta.Index, s.restored(ctx, file, &leases))
	if err != nil {
		for _, l := range leases {
			s.KV.Revoke(ctx, l)
		}
	}
	return err
}

// ofSnapshot is the subject of the error about a snapshot that is too large.
const ofSnapshot = "snapshot"

func refusedSnapshot(err error) error {
	refused := skerry.Errorf(skerry.Invalid, "%w", err)
	var large *archive.TooLarge
	if errors.As(err, &large) {
		refused.Subject = ofSnapshot
	}
	return refused
}

// spool keeps an archive in a file, as it came.
func (s *Store) spool(r io.Reader) (*os.File, error) {
	file, err := os.CreateTemp("", "skerry-snapshot-")
	if err != nil {
		return nil, fmt.Errorf("make room for the snapshot: %w", err)
	}
	if s.MaxSnapshot > 0 {
		r = io.LimitReader(r, s.MaxSnapshot+1)
	}
	n, err := io.Copy(file, r)
	if err == nil && s.MaxSnapshot > 0 && n > s.MaxSnapshot {
		err = &skerry.Error{Kind: skerry.Invalid, Subject: ofSnapshot, Message: fmt.Sprintf("the snapshot has more than the %d bytes that are taken here", s.MaxSnapshot)}
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, err
	}
	return file, nil
}

// errEnough ends the reading of an archive of whose records no more are wanted.
var errEnough = errors.New("enough")

// restored returns the records of an archive as they are to be. Each session with a
// TTL has a lease of its own, which is noted in leases.
func (s *Store) restored(ctx context.Context, r io.Reader, leases *[]skerry.LeaseID) iter.Seq2[skerry.Record, error] {
	return func(yield func(skerry.Record, error) bool) {
		_, err := archive.Read(r, s.MaxSnapshot, func(one archive.Record) error {
			out := skerry.Record{Key: one.Key, Value: one.Value}
			alive, err := s.renewLease(ctx, &out)
			if err != nil {
				return err
			}
			if alive != nil {
				*leases = append(*leases, alive.Lease)
				if !yield(*alive, nil) {
					return errEnough
				}
			}
			if !yield(out, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			yield(skerry.Record{}, err)
		}
	}
}

// renewLease gives a session with a TTL a lease of its own, and returns its sign of
// life. Other records stay as they are.
func (s *Store) renewLease(ctx context.Context, r *skerry.Record) (alive *skerry.Record, err error) {
	if !strings.HasPrefix(r.Key, sessionPrefix) {
		return nil, nil
	}
	session, err := decodeSession(r)
	if err != nil || session.TTL == 0 {
		return nil, err
	}
	if err := s.lease(ctx, session); err != nil {
		return nil, err
	}
	if r.Value, err = json.Marshal(session); err != nil {
		return nil, fmt.Errorf("session %s: %w", session.ID, err)
	}
	return &skerry.Record{Key: alivePrefix + session.ID, Lease: session.Lease}, nil
}
