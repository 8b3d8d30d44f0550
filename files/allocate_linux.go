package files

import (
	"errors"
	"os"
	"syscall"
)

// allocate makes a file at least size bytes long, with its blocks.
func allocate(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return lengthen(f, size)
	}
	return err
}
