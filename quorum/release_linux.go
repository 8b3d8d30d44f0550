package quorum

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// release takes from this process all files that are open below dir, with their locks:
// their numbers lead to nowhere then. Only the dead member may have any.
func release(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer nowhere.Close()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range open {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(path, dir+"/") {
			continue
		}
		// A file that is mapped stays open, and locked, when its number goes.
		_ = syscall.Flock(number, syscall.LOCK_UN)
		if err := syscall.Dup3(int(nowhere.Fd()), number, syscall.O_CLOEXEC); err != nil {
			return err
		}
	}
	return nil
}
