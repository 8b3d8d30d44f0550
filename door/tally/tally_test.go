package tally

import (
	"net/netip"
	"testing"
)

func TestTally(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c := New(2)
	for i, tt := range []struct {
		addr netip.Addr
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}} {
		if got := c.Enter(tt.addr); got != tt.want {
			t.Errorf("entry %d, of %s: %v, want %v", i, tt.addr, got, tt.want)
		}
	}
	if c.Len() != 2 {
		t.Errorf("%d addresses are remembered, want 2", c.Len())
	}
	c.Leave(a)
	if !c.Enter(a) {
		t.Error("one that left makes no room")
	}
	c.Leave(a)
	c.Leave(a)
	c.Leave(b)
	if c.Len() != 0 {
		t.Errorf("%d addresses are remembered that have nothing open", c.Len())
	}
	free := New(-1)
	for range 1000 {
		if !free.Enter(a) {
			t.Fatal("there is a limit")
		}
	}
}
