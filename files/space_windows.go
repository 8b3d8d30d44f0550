package files

import "golang.org/x/sys/windows"

// Space returns the size in bytes of the disk that a path is on, and how much of it this
// process may still write. ok is false where that is not known.
func Space(path string) (total, free int64, ok bool) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, false
	}
	var mine, size uint64
	if windows.GetDiskFreeSpaceEx(name, &mine, &size, nil) != nil {
		return 0, 0, false
	}
	return int64(size), int64(mine), true
}
