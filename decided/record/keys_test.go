package record_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/record"
)

// Stores that exist have these keys.
func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		record.NodeKey("N/1%"):                                          "n%2F1%25",
		record.NodeName(record.NodeKey("N/1%2F")):                       "n/1%2f",
		record.JudgeKey(record.NodeKey("a/b"), "s/1", "c/1"):            "ext/judge/a%2Fb/s%2F1/c/1",
		record.HeldKey("id", "a/b"):                                     "held/id/a/b",
		record.BoundKey(&skerry.Session{ID: "id", Node: "A/B"}):         "bound/a%2Fb/id",
		record.Sessions + record.Alive + record.Delays + record.Decider: "session/alive/delay/leader",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
