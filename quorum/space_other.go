//go:build !unix

package quorum

// freeSpace returns the bytes that may still be written below dir.
func freeSpace(string) (int64, bool) { return 0, false }
