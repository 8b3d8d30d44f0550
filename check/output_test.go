package check

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCapture(t *testing.T) {
	c := Capture{Max: 10}
	for range 4 {
		c.Write([]byte("0123"))
	}
	if got := c.String(); got != "0123012301 ... (captured 10 of 16 bytes)" {
		t.Errorf("%q", got)
	}
	c = Capture{Max: 4}
	c.Write([]byte("0123"))
	if got := c.String(); got != "0123" || c.Full() {
		t.Errorf("%q", got)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add("0123456789abcdef", 10, 3)
	f.Add("ä\xff", 1, 1)
	f.Add("", 0, 0)
	f.Fuzz(func(t *testing.T, s string, limit, piece int) {
		limit, piece = max(limit, 0)%1000, max(piece, 0)%10+1
		cut := Truncate(s, limit)
		if !isTruncated(cut, s, limit) {
			t.Errorf("isTruncated does not know %q", cut)
		}
		if isTruncated(cut+"x", s, limit) {
			t.Errorf("isTruncated takes %q", cut+"x")
		}
		c := Capture{Max: limit}
		for rest := s; rest != ""; {
			n := min(piece, len(rest))
			c.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		got := c.String()
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if utf8.ValidString(cut) && got != cut {
			t.Errorf("captured %q, truncated %q", got, cut)
		}
		if c.Full() != strings.HasSuffix(cut, " bytes)") && !strings.HasSuffix(s, " bytes)") {
			t.Errorf("Full() = %v of %q", c.Full(), cut)
		}
	})
}
