//go:build unix

package files

import (
	"os"
	"syscall"
)

// OpenLocked opens a file, which it makes if there is none, and holds it against all other
// processes until it is closed.
func OpenLocked(name string, perm os.FileMode) (*os.File, error) {
	f, err := Open(name, os.O_CREATE|os.O_RDWR, perm)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}
