//go:build unix

package door

import "syscall"

// fileLimit returns the number of files that this process may have open; 0 if it is not
// known. Go has raised the limit to the hard one at the start.
func fileLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	const most = 1 << 24 // more means no limit
	return int(min(uint64(l.Cur), most))
}
