package files

import "os"

// Map makes a file at least size bytes long and returns so many of its bytes in memory,
// page-aligned: a store to them is a store to the file. Where the system can, the
// blocks are allocated first, because a store to a hole on a full disk kills the process.
//
// Stored bytes outlive the process, however it ends, since they are in the system's cache.
// The system writes them to the disk when it likes, so a power cut can lose them.
//
// A file may be mapped again with a greater size before [Unmap] ends the first mapping.
func Map(f *os.File, size int) ([]byte, error) {
	if err := allocate(f, int64(size)); err != nil {
		return nil, &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	b, err := mapFile(f, size)
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return b, nil
}

// Unmap ends a mapping. Its bytes must not be touched after that.
func Unmap(b []byte) error { return unmap(b) }

// lengthen makes a file at least size bytes long, with a hole.
func lengthen(f *os.File, size int64) error {
	if info, err := f.Stat(); err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}
