//go:build linux || darwin || freebsd

package files

import "syscall"

// Space returns the size in bytes of the disk that a path is on, and how much of it this
// process may still write. ok is false where that is not known.
func Space(path string) (total, free int64, ok bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return 0, 0, false
	}
	return int64(s.Blocks) * int64(s.Bsize), int64(s.Bavail) * int64(s.Bsize), true
}
