//go:build !linux && !darwin && !freebsd

package server

// diskSpace is not known on this system.
func diskSpace(string) (total, free uint64, ok bool) { return 0, 0, false }
