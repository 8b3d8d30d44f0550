package check

import (
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// TestThreshold feeds results (p, w, c) one by one and compares the status after
// each; in capitals where the result is held back.
func TestThreshold(t *testing.T) {
	tests := []struct {
		name                       string
		passing, warning, critical int
		start                      skerry.Health
		results, want              string
	}{
		{"none", 0, 0, 0, skerry.Critical, "pwcp", "pwcp"},
		{"one is none", 1, 1, 1, skerry.Critical, "pwcp", "pwcp"},
		{"success", 3, 0, 0, skerry.Critical, "pppcppp", "CCpcCCp"},
		{"success is interrupted", 2, 0, 0, skerry.Critical, "pcpwpp", "CcCwWp"},
		{"failures", 0, 0, 3, skerry.Passing, "ccpcccc", "PPpPPcc"},
		{"warning defaults to critical", 0, 0, 2, skerry.Passing, "wwpcc", "PwpPc"},
		{"warning before critical", 0, 2, 4, skerry.Passing, "cccccp", "Pwwccp"},
		{"warnings are not critical", 0, 1, 3, skerry.Passing, "wwccc", "wwwwc"},
		{"critical stays so", 0, 2, 3, skerry.Critical, "ccc", "ccc"},
		{"better but not good", 0, 2, 2, skerry.Critical, "ww", "Cw"},
		{"huge", 1 << 20, 0, 0, skerry.Critical, "pp", "CC"},
	}
	letter := map[byte]skerry.Health{'p': skerry.Passing, 'w': skerry.Warning, 'c': skerry.Critical}
	for _, tt := range tests {
		th := newThreshold(&skerry.CheckDefinition{
			SuccessBeforePassing: tt.passing, FailuresBeforeWarning: tt.warning, FailuresBeforeCritical: tt.critical,
		})
		now, got := tt.start, ""
		for _, r := range []byte(tt.results) {
			var held bool
			now, held = th.next(now, letter[r])
			if word := string(now[:1]); held {
				got += strings.ToUpper(word)
			} else {
				got += word
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.results, got, tt.want)
		}
	}
}
