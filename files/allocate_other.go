//go:build !linux

package files

import "os"

// allocate makes a file at least size bytes long.
func allocate(f *os.File, size int64) error { return lengthen(f, size) }
