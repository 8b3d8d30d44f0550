//go:build linux || darwin || freebsd

package server

import "syscall"

// diskSpace returns the size of the disk that path is on, and what is free of it, in bytes.
func diskSpace(path string) (total, free uint64, ok bool) {
	var fs syscall.Statfs_t
	if syscall.Statfs(path, &fs) != nil {
		return 0, 0, false
	}
	return fs.Blocks * uint64(fs.Bsize), uint64(fs.Bavail) * uint64(fs.Bsize), true
}
