// Package snapshot saves the quorum store to an archive and restores it from one.
package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/decided/query"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/decided/session"
)

// Options configure a [Keeper].
type Options struct {
	KV       skerry.KV
	Sessions *session.Store // gives restored sessions new leases
	// Meta describes this server in archives. A Keeper fills in ID, Index and Taken.
	Meta archive.Meta
	// MaxBytes bounds the size to which a restored archive may unpack; 0 is no bound.
	MaxBytes int64
	Log      *slog.Logger // default: discard
}

// Keeper saves and restores snapshots.
type Keeper struct {
	kv       skerry.KV
	sessions *session.Store
	meta     archive.Meta
	maxBytes int64
	log      *slog.Logger

	saved, restored moves
}

// New returns a keeper of snapshots.
func New(o Options) *Keeper {
	return &Keeper{kv: o.KV, sessions: o.Sessions, meta: o.Meta, maxBytes: o.MaxBytes, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
}

// SaveSnapshot writes the quorum store as it is at one moment, and returns that moment's
// index. A damaged record is an error, and then nothing is written: a snapshot that lacks
// a record must not look whole. The tokens of prepared queries are left out, or with
// queryTokens stay sealed.
func (k *Keeper) SaveSnapshot(w io.Writer, queryTokens bool) (index uint64, err error) {
	now, to, meta := k.kv.Snapshot(), &sized{Writer: w}, k.meta
	meta.ID, meta.Index, meta.Taken = uuid.NewString(), now.Index(), time.Now().UTC()
	if err := archive.Write(to, meta, records(now, queryTokens)); err != nil {
		return 0, err
	}
	k.saved.note(to.bytes)
	k.log.Info("a snapshot was saved", "index", meta.Index, "bytes", to.bytes)
	return meta.Index, nil
}

// sized counts the bytes that are written or read.
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

// records returns the records to keep. The deciding server, the running leases and the outcomes
// of requests are left out.
func records(now skerry.Snapshot, queryTokens bool) iter.Seq2[archive.Record, error] {
	return func(yield func(archive.Record, error) bool) {
		for r := range now.All(skerry.Below(""), "") {
			if r.Key == record.Decider || strings.HasPrefix(r.Key, record.Alive) || strings.HasPrefix(r.Key, skerry.Fleeting) {
				continue
			}
			value, err := r.Value, r.Damage
			if err == nil && strings.HasPrefix(r.Key, record.Queries) {
				value, err = query.WithoutToken(value, queryTokens)
			}
			if !yield(archive.Record{Key: r.Key, Value: value, Created: r.Created, Modified: r.Modified}, err) {
				return
			}
		}
	}
}

// RestoreSnapshot replaces all records of the quorum store by those of an archive, in one
// change. An archive that is damaged anywhere changes nothing. The TTLs of sessions begin
// anew. All indexes are new, and greater than the earlier ones and those of the archive.
func (k *Keeper) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	from := &sized{Reader: r}
	if err := k.restore(ctx, from); err != nil {
		return err
	}
	k.restored.note(from.bytes)
	k.log.Warn("a snapshot was restored: it replaced all records of the quorum store", "bytes", from.bytes)
	return nil
}

func (k *Keeper) restore(ctx context.Context, r io.Reader) error {
	replacer, ok := k.kv.(skerry.Replacer)
	if !ok {
		return skerry.Errorf(skerry.Unsupported, "this store cannot be restored from a snapshot")
	}
	// The archive is read twice: first to its end, where the checksums are, before
	// anything changes.
	file, err := k.spool(r)
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	meta, err := archive.Read(file, k.maxBytes, func(one archive.Record) error {
		if strings.HasPrefix(one.Key, record.Sessions) {
			_, err := record.DecodeSession(&skerry.Record{Key: one.Key, Value: one.Value})
			return err
		}
		return nil
	})
	if err != nil {
		return refused(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var leases []skerry.LeaseID
	err = replacer.Replace(ctx, meta.Index, k.records(ctx, file, &leases))
	if err != nil {
		for _, l := range leases {
			k.kv.Revoke(ctx, l)
		}
	}
	return err
}

// ofSnapshot is the subject of the error about an archive that is too large.
const ofSnapshot = "snapshot"

// refused returns the error about an archive that cannot be restored.
func refused(err error) error {
	e := skerry.Errorf(skerry.Invalid, "%w", err)
	var large *archive.TooLarge
	if errors.As(err, &large) {
		e.Subject = ofSnapshot
	}
	return e
}

// spool copies an archive to a temporary file.
func (k *Keeper) spool(r io.Reader) (*os.File, error) {
	file, err := os.CreateTemp("", "skerry-snapshot-")
	if err != nil {
		return nil, fmt.Errorf("make room for the snapshot: %w", err)
	}
	if k.maxBytes > 0 {
		r = io.LimitReader(r, k.maxBytes+1)
	}
	n, err := io.Copy(file, r)
	if err == nil && k.maxBytes > 0 && n > k.maxBytes {
		err = &skerry.Error{Kind: skerry.Invalid, Subject: ofSnapshot, Message: fmt.Sprintf("the snapshot has more than the %d bytes that are taken here", k.maxBytes)}
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

// errEnough ends the reading of an archive whose records are no longer needed.
var errEnough = errors.New("enough")

// records returns the records of an archive for the quorum store. Each session with a TTL
// has a new lease, which is added to leases.
func (k *Keeper) records(ctx context.Context, r io.Reader, leases *[]skerry.LeaseID) iter.Seq2[skerry.Record, error] {
	return func(yield func(skerry.Record, error) bool) {
		_, err := archive.Read(r, k.maxBytes, func(one archive.Record) error {
			out := skerry.Record{Key: one.Key, Value: one.Value}
			alive, err := k.renewLease(ctx, &out)
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

// renewLease gives a session with a TTL a new lease, and returns its sign of life. It
// leaves other records as they are.
func (k *Keeper) renewLease(ctx context.Context, r *skerry.Record) (alive *skerry.Record, err error) {
	if !strings.HasPrefix(r.Key, record.Sessions) {
		return nil, nil
	}
	session, err := record.DecodeSession(r)
	if err != nil || session.TTL == 0 {
		return nil, err
	}
	if err := k.sessions.Lease(ctx, session); err != nil {
		return nil, err
	}
	if r.Value, err = json.Marshal(session); err != nil {
		return nil, fmt.Errorf("session %s: %w", session.ID, err)
	}
	return &skerry.Record{Key: record.Alive + session.ID, Lease: session.Lease}, nil
}
