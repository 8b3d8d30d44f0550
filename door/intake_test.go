package door

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestShareFiles(t *testing.T) {
	for _, limit := range []int{64, 128, 256, 1024, 4096, 20_000, 1 << 20, 1 << 24} {
		for _, agents := range []bool{false, true} {
			s := shareFiles(limit, agents)
			left := limit - s.Clients - s.Agents - filesPerRun*s.Runners - s.Recursions
			if s.Clients < 4 || s.Runners < 4 || s.Runners > mostRunners || left < min(limit/4, mostReserve) || agents && (s.Agents < 4 || s.Agents > s.Clients+1 && s.Agents < mostAgents) {
				t.Errorf("of %d files: %+v, %d left for the store", limit, s, left)
			}
			if !agents && s.Agents > 0 {
				t.Errorf("without agents: %+v", s)
			}
		}
	}
	if s := shareFiles(0, false); s.Runners != mostRunners || s.Clients < 1000 {
		t.Errorf("without a known Limit: %+v", s)
	}
}

// entered makes n connections and returns those that were let in.
func entered(d *intake, n int, change func(*clientConn)) (in []*clientConn) {
	for range n {
		a, _ := net.Pipe()
		c := &clientConn{Conn: a}
		change(c)
		if d.enter(c) {
			in = append(in, c)
		}
	}
	return in
}

func TestStrangersLeaveRoomForThisHost(t *testing.T) {
	d := newIntake(Shares{Limit: 1000, Clients: 80}, slog.New(slog.DiscardHandler))
	if in := entered(d, 100, func(c *clientConn) { c.dns = true }); len(in) != 20 {
		t.Errorf("DNS has %d of 80 connections, want a quarter", len(in))
	}
	if in := entered(d, 100, func(*clientConn) {}); len(in) != 50 {
		t.Errorf("strangers have %d more of 80 connections, want 70 in all", len(in))
	}
	if in := entered(d, 100, func(c *clientConn) { c.local = true }); len(in) != 10 {
		t.Errorf("this host has %d connections, want the last 10", len(in))
	}
}

// When DNS has used up its share, idle connections of its own go, and no others.
func TestIdleDNSGoesForDNS(t *testing.T) {
	d := newIntake(Shares{Limit: 1000, Clients: 80}, slog.New(slog.DiscardHandler))
	old := time.Now().Add(-time.Hour).UnixNano()
	web := entered(d, 10, func(c *clientConn) { c.idle.Store(old) })
	first := entered(d, 20, func(c *clientConn) { c.dns = true; c.idle.Store(old + 1) })
	first[7].SetIdle(false)
	first[9].SetIdle(true) // only now
	asks := func(c *clientConn) { c.dns = true }
	if more := entered(d, 30, asks); len(first) != 20 || len(more) != 18 || d.dns != 20 {
		t.Errorf("%d and %d were let in, %d are open; want 18 for the idle ones", len(first), len(more), d.dns)
	}
	for _, c := range append(web, first[7], first[9]) {
		if _, open := d.open[c]; !open {
			t.Error("a connection of HTTP, or a busy one, was closed")
		}
	}
}

func TestTheLongestIdleGoes(t *testing.T) {
	d := newIntake(Shares{Limit: 1000, Clients: 16}, slog.New(slog.DiscardHandler))
	old := time.Now().Add(-time.Hour)
	n := 0
	local := func(c *clientConn) {
		c.local = true
		d.stateOf(c, http.StateNew)
		switch n++; {
		case n <= 4:
			d.stateOf(c, http.StateActive)
		case n == 10:
			c.idle.Store(old.UnixNano())
		default:
			c.idle.Store(old.Add(time.Duration(n) * time.Second).UnixNano())
		}
	}
	first := entered(d, 16, local)
	if more := entered(d, 3, local); len(first) != 16 || len(more) != 3 || len(d.open) != 16 {
		t.Fatalf("%d and %d were let in, %d are open", len(first), len(more), len(d.open))
	}
	for i, c := range first {
		_, open := d.open[c]
		if want := i != 9 && i != 4 && i != 5; open != want {
			t.Errorf("connection %d is open: %v, want %v", i, open, want)
		}
	}
	for c := range d.open { // all are busy now
		d.stateOf(c, http.StateActive)
	}
	if more := entered(d, 3, local); len(more) != 0 {
		t.Errorf("%d were let in where all are busy", len(more))
	}
}
