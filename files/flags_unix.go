//go:build unix

package files

import (
	"io/fs"
	"os"
	"syscall"
)

const (
	nonblock = syscall.O_NONBLOCK // a pipe without a writer would be waited for
	nofollow = syscall.O_NOFOLLOW
)

// trusted reports whether a file is this process's user's or the superuser's.
func trusted(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid())
}
