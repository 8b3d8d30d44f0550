package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry/files"
)

// A member that is ended in its first moments may leave a log in which it is no member
// of its own cluster: it would wait for a leader for ever. So its folder is marked until
// it has answered once; until then nothing in it was acknowledged to a client, and the
// next start begins it anew. A member of several may have voted by then. Its vote must
// not be forgotten, so such a folder is kept.

// beginning is the name of the mark.
const beginning = "beginning"

// begin makes a folder ready for a member, and marks it when it is new.
func begin(dir string, several bool) error {
	mark, member := filepath.Join(dir, beginning), filepath.Join(dir, "member")
	if _, err := os.Lstat(mark); err == nil {
		if several && voted(filepath.Join(member, "wal")) {
			return nil
		}
		if err := os.RemoveAll(member); err != nil {
			return fmt.Errorf("begin the store anew: %w", err)
		}
		return nil
	}
	if _, err := os.Lstat(member); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	return files.SyncFolder(dir)
}

// voted reports whether the member may have told the others anything: etcd sends nothing
// before its log has a term. A log that cannot be read may have had one.
func voted(dir string) bool {
	if !wal.Exist(dir) {
		return false
	}
	log, err := wal.OpenForRead(zap.NewNop(), dir, &walpb.Snapshot{})
	if err != nil {
		return true
	}
	defer log.Close()
	_, state, _, err := log.ReadAll()
	return err != nil || state.GetTerm() > 0
}

// begun takes the mark away: from now on all in the folder counts.
func begun(dir string) error {
	err := os.Remove(filepath.Join(dir, beginning))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return files.SyncFolder(dir)
}
