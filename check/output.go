package check

import (
	"strconv"
	"strings"
)

// Capture keeps the first Max bytes written to it and counts the rest, so that a
// talkative peer costs no memory. It is not safe for use from several goroutines at once.
type Capture struct {
	Max   int
	kept  []byte
	total int
}

// Write never fails.
func (c *Capture) Write(p []byte) (int, error) {
	c.total += len(p)
	c.kept = append(c.kept, p[:min(len(p), c.Max-len(c.kept))]...)
	return len(p), nil
}

// Full reports whether more was written than is kept.
func (c *Capture) Full() bool { return c.total > len(c.kept) }

// String returns the kept bytes, with a note of the size of the whole if some are
// missing. Bytes that are not UTF-8 are replaced.
func (c *Capture) String() string {
	s := strings.ToValidUTF8(string(c.kept), "\uFFFD")
	if !c.Full() {
		return s
	}
	return Captured(s, len(c.kept), int64(c.total))
}

// Captured returns kept with a note that it is n bytes of total.
func Captured(kept string, n int, total int64) string {
	return string(appendCaptured([]byte(kept), n, total))
}

// Truncate returns s within limit bytes, with a note of the bytes cut off.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return string(appendCaptured([]byte(s[:limit]), limit, int64(len(s))))
}

// isTruncated reports whether kept is Truncate(s, limit), without allocating.
func isTruncated(kept, s string, limit int) bool {
	if len(s) <= limit {
		return kept == s
	}
	if len(kept) < limit || kept[:limit] != s[:limit] {
		return false
	}
	var note [80]byte
	return kept[limit:] == string(appendCaptured(note[:0], limit, int64(len(s))))
}

func appendCaptured(b []byte, kept int, total int64) []byte {
	b = append(b, " ... (captured "...)
	b = strconv.AppendInt(b, int64(kept), 10)
	b = append(b, " of "...)
	b = strconv.AppendInt(b, total, 10)
	return append(b, " bytes)"...)
}
