package quorum

import (
	"bytes"
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
	"google.golang.org/protobuf/proto"
)

// etcd reads its data file without checks: a damaged page, or a record that is none, ends the process or leaves a start that waits
// for ever, in a goroutine of etcd's. So all pages are read before etcd opens the file. A damaged value is found
// later, by its checksum, and costs the other records nothing.

// lockWithin bounds the wait for a data file that another process has open.
const lockWithin = time.Second

// checkFile returns an error, which is [ErrDamaged] if etcd could not read the data file in a member's folder. A file that is not
// there is sound.
func checkFile(dir string) (err error) {
	path := filepath.Join(dir, memberFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !wal.Exist(filepath.Join(dir, "member", "wal")) { // etcd would begin a new log, and forget how it voted
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
