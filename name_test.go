package skerry_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerryhq/skerry"
)

// The quick comparison is that of the folded names, whatever bytes are in them.
func TestCompareFolded(t *testing.T) {
	name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[aAbBzZ\[_ÄäKkſs\xff]{0,5}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		want := strings.Compare(skerry.Fold(a), skerry.Fold(b))
		if got := skerry.CompareFolded(a, b); got != want {
			t.Errorf("CompareFolded(%q, %q) = %d, want %d", a, b, got, want)
		}
		if got := skerry.SameName(a, b); got != (want == 0) {
			t.Errorf("SameName(%q, %q) = %v", a, b, got)
		}
		if skerry.CompareNames(a, b) == 0 && a != b {
			t.Errorf("%q and %q are two names", a, b)
		}
	})
}

func TestFoldingMakesNoCopies(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if skerry.CompareFolded("Web-Frontend", skerry.Fold("web-frontend")) != 0 {
			t.Error("they are two names")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
