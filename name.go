package skerry

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// Fold returns a name of a service, node or datacenter in lower case, the form in which
// names are compared, as in Consul. Names are kept and answered as they were written.
func Fold(name string) string { return strings.ToLower(name) }

// SameName reports whether two names are the same when folded.
func SameName(a, b string) bool { return a == b || CompareFolded(a, b) == 0 }

// CompareNames is the order of names in lists: as folded, then as written.
func CompareNames(a, b string) int {
	return cmp.Or(CompareFolded(a, b), strings.Compare(a, b))
}

// CompareFolded compares folded names. It makes no copies of names that are ASCII.
func CompareFolded(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x >= utf8.RuneSelf || y >= utf8.RuneSelf {
			return strings.Compare(Fold(a[i:]), Fold(b[i:]))
		}
		if c := cmp.Compare(lower(x), lower(y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
