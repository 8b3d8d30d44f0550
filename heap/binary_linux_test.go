package heap

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// resident is the memory of files that this process has, in kB.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The pages of the program's file are given back, and read again when they are needed.
func TestReleaseBinary(t *testing.T) {
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	before := resident(t)
	if err := releaseBinary(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d kB of files before, %d after", before, after)
	}
	if again, err := os.ReadFile("/proc/self/exe"); err != nil || len(again) != len(own) {
		t.Errorf("the program does not go on: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-019a6000 r-xp 00000000 fe:00 9994443                            /usr/bin/skerry":  true,
		"019a6000-031b1000 r--p 015a6000 fe:00 9994443                            /usr/bin/skerry":  true,
		"031b1000-0329f000 rw-p 02db1000 fe:00 9994443                            /usr/bin/skerry":  false,
		"7f5a18c3e000-7f5a18d94000 r-xp 00026000 fe:00 326269                     /usr/lib/libc.so": false,
		"218cb2000000-218cb2800000 r--p 00000000 00:00 0":                                           false,
		"Rss:               15612 kB": false, "": false, "z-z r-xp 0 0 0 /usr/bin/skerry": false, "5-4 r-xp 0 0 0 /usr/bin/skerry": false,
	} {
		if _, _, ok := readOnly(line, "/usr/bin/skerry"); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
}
