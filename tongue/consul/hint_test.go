package consul

import (
	"fmt"
	"testing"
)

// The log has a line per client and matter, and their number is bounded.
func TestHintedOnce(t *testing.T) {
	var h hinted
	for i, tt := range []struct {
		client, of string
		want       bool
	}{{"a", "GET", true}, {"a", "GET", false}, {"a", "Script", true}, {"b", "GET", true}, {"b", "GET", false}} {
		if got := h.first(tt.client, tt.of); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	for i := range 2 * maxHinted {
		h.first(fmt.Sprint(i), "GET")
	}
	if len(h.told) != maxHinted {
		t.Errorf("%d are remembered, want %d", len(h.told), maxHinted)
	}
}
