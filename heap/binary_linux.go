package heap

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseBinary gives the memory of the program's own file back to the system. Most of it was needed for the start alone.
// Pages that are needed again are read from the system's cache of the file.
func releaseBinary() error {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer maps.Close()
	var start, end uintptr
	ours := false
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if from, to, ok := readOnly(line, own); ok {
			start, end, ours = from, to, true
		}
		if kilobytes, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			// Pages that are not as in the file, such as relocations, have to stay.
			if ours && strings.TrimSpace(kilobytes) == "0 kB" {
				if err := madvise(start, end-start, unix.MADV_DONTNEED); err != nil {
					return err
				}
			}
			ours = false
		}
	}
	return nil
}

// readOnly returns the addresses of a line that begins a range in /proc/self/smaps, if it is of a file and cannot be written to.
func readOnly(line, file string) (start, end uintptr, ok bool) {
	f := strings.Fields(line) // addresses, permissions, offset, device, inode, path
	if len(f) != 6 || f[5] != file || strings.Contains(f[1], "w") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	a, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(to, 16, 64)
	return uintptr(a), uintptr(b), err == nil && b > a
}

func madvise(start, size uintptr, advice int) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, size, uintptr(advice)); errno != 0 {
		return errno
	}
	return nil
}
