package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A member that is ended in its first moments may leave a log in which it is no member
// of its own cluster: it would wait for a leader for ever. So its folder is marked until
// it has answered once; until then nothing in it was acknowledged, and the next start
// begins it anew.

// beginning is the name of the mark.
const beginning = "beginning"

// begin makes a folder ready for a member, and marks it when it is new.
func begin(dir string) error {
	mark, member := filepath.Join(dir, beginning), filepath.Join(dir, "member")
	if _, err := os.Lstat(mark); err == nil {
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
	return syncFolder(dir)
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
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
