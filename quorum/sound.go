package quorum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// etcd reads its data file without checks: a damaged page, or a record that is none, ends the process or leaves a start that waits
// for ever, in a goroutine of etcd's. So all pages are read before etcd opens the file. A damaged value is found
// later, by its checksum, and costs the other records nothing.

// lockWithin bounds the wait for a data file that another process has open.
const lockWithin = time.Second

// checkData returns an error, which is [ErrDamaged] if the data in a member's folder cannot be used. A member without data is
// sound. several: there are others that have all that was acknowledged.
func checkData(dir string, several bool) (err error) {
	path := filepath.Join(dir, memberFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	logs := filepath.Join(dir, "member", "wal")
	if !wal.Exist(logs) { // etcd would begin a new log, and forget how it voted
		return fmt.Errorf("%w: %s has no log", ErrDamaged, dir)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a page may lead beyond the file
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, path, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWithin})
	if err != nil {
		return asDamaged(fmt.Errorf("%s: %w", path, err))
	}
	defer db.Close()
	if err := checkPages(db, path); err != nil || !several {
		return err
	}
	return checkLog(db, logs)
}

// checkPages reads all pages and records.
func checkPages(db *bbolt.DB, path string) error {
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			records := bytes.Equal(name, schema.Key.Name())
			var record mvccpb.KeyValue
			return b.ForEach(func(key, value []byte) error {
				if !records {
					return nil
				}
				proto.Reset(&record)
				if err := proto.Unmarshal(value, &record); err != nil {
					return fmt.Errorf("%w: %s: the record %x is none", ErrDamaged, path, key)
				}
				return nil
			})
		})
	})
}

// checkLog returns an error if the data file has changes beyond the end of the log. etcd takes damage of a record's length for a record that was
// being written when the process ended: it drops it and all that follow, and the member would have forgotten changes that it
// acknowledged. With only itself to ask, a member opens what there is.
func checkLog(db *bbolt.DB, logs string) error {
	applied := uint64(0)
	if err := db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(schema.Meta.Name()); b != nil {
			if index := b.Get(schema.MetaConsistentIndexKeyName); len(index) == 8 {
				applied = binary.BigEndian.Uint64(index)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	snapshots, err := wal.ValidSnapshotEntries(zap.NewNop(), logs)
	if err != nil {
		return unreadable(logs, err)
	}
	from := &walpb.Snapshot{}
	if n := len(snapshots); n > 0 {
		from = snapshots[n-1]
	}
	log, err := wal.OpenForRead(zap.NewNop(), logs, from)
	if err != nil {
		return unreadable(logs, err)
	}
	defer log.Close()
	_, _, entries, err := log.ReadAll()
	if err != nil {
		return unreadable(logs, err)
	}
	last := from.GetIndex()
	if n := len(entries); n > 0 {
		last = entries[n-1].GetIndex()
	}
	if last < applied {
		return fmt.Errorf("%w: the log in %s ends at %d, and the data file has the changes up to %d", ErrDamaged, logs, last, applied)
	}
	return nil
}

// unreadable returns the error of a log that is read: damage has errors of many kinds, and a disk or a right that is missing one.
func unreadable(logs string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, logs, err)
}
