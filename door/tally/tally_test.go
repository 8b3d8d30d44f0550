package tally

import (
	"net/netip"
	"testing"
)

func TestTally(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c := New(2)
	if !c.Enter(a) || !c.Enter(a) || c.Enter(a) || !c.Enter(b) || c.Len() != 2 {
		t.Error("an address may have two, whatever others have")
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
