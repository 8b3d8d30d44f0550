package dns

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/test/testlog"
)

func TestReaches(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")}
	for _, c := range []struct {
		to, own string
		want    bool
	}{
		{"127.0.0.1:8600", "127.0.0.1:8600", true},
		{"127.0.0.1:53", "127.0.0.1:8600", false},
		{"127.0.0.2:8600", "127.0.0.1:8600", false},
		{"127.0.0.1:8600", "0.0.0.0:8600", true},
		{"127.9.9.9:8600", "0.0.0.0:8600", true},
		{"10.0.0.5:8600", "0.0.0.0:8600", true},
		{"10.0.0.6:8600", "0.0.0.0:8600", false},
		{"10.0.0.5:8600", "[::]:8600", true},
		{"[2001:db8::5]:8600", "[::]:8600", true},
		{"[2001:db8::6]:8600", "[::]:8600", false},
		{"[::1]:8600", "0.0.0.0:8600", false},
		{"[::1]:8600", "[::]:8600", true},
		{"[::ffff:127.0.0.1]:8600", "127.0.0.1:8600", true},
		{"[::ffff:10.0.0.5]:8600", "0.0.0.0:8600", true},
		{"0.0.0.0:8600", "127.0.0.1:8600", true},
		{"0.0.0.0:8600", "10.0.0.5:8600", false},
		{"[::]:8600", "[::]:8600", true},
		{"10.0.0.5:8600", "127.0.0.1:8600", false},
	} {
		if got := reaches(netip.MustParseAddrPort(c.to), netip.MustParseAddrPort(c.own), local); got != c.want {
			t.Errorf("%s comes to a listener on %s: %v, want %v", c.to, c.own, got, c.want)
		}
	}
}

// listenOn opens both sockets on an address of this host, at one port.
func listenOn(t *testing.T, host string) (net.PacketConn, net.Listener, string) {
	t.Helper()
	stream, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil && strings.Contains(host, ":") {
		t.Skip("this host has no IPv6: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(stream.Addr().String())
	packet, err := net.ListenPacket("udp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	return packet, stream, port
}

// eventually waits for what another process, or the network, does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// A recursor that is one of our own addresses is left out, also after a reload.
func TestOwnAddressIsNoRecursor(t *testing.T) {
	up := startUpstream(t, &upstream{zone: exampleZone})
	for host, recursor := range map[string]string{"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.3", "::": "127.0.0.1"} {
		packet, stream, port := listenOn(t, host)
		var log testlog.Log
		cfg := withRecursors(net.JoinHostPort(recursor, port), up.addr)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		s := New(self, basicCatalog(), cfg)
		serveOn(t, s, packet, stream)
		eventually(t, host+": the recursor is asked", func() bool { return len(s.state.Load().recursors) == 1 })
		s.Reload(cfg)
		if got := s.state.Load().recursors; len(got) != 1 || got[0] != up.addr {
			t.Errorf("%s: after a reload recursors are %v", host, got)
		}
		if got := brief(dig(t, net.JoinHostPort("127.0.0.1", port), "svc.example.com A")); got != "NOERROR | A 192.0.2.1" {
			t.Errorf("%s: %s", host, got)
		}
		if n := log.Count("recursors: an address is this server's own"); n != 1 {
			t.Errorf("%s: logged %d times", host, n)
		}
	}
}

// A recursor that passes on to us what we pass on to it is left out while it does so.
func TestLoopThroughAnother(t *testing.T) {
	packet, stream, port := listenOn(t, "127.0.0.1")
	ours := net.JoinHostPort("127.0.0.1", port)
	var mu sync.Mutex
	passesOn := true
	up := startUpstream(t, &upstream{zone: exampleZone, seen: func(q, m *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if passesOn {
			if r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(q.Copy(), ours); err == nil {
				m.Rcode, m.Answer = r.Rcode, r.Answer
			}
		}
	}})
	registry := prometheus.NewPedanticRegistry()
	var log testlog.Log
	cfg := withRecursors(up.addr)
	cfg.Registerer, cfg.Log = registry, slog.New(slog.NewTextHandler(&log, nil))
	s := New(self, basicCatalog(), cfg)
	serveOn(t, s, packet, stream)
	eventually(t, "the loop is not found", func() bool { return s.paths.loops(up.addr) })
	before := up.asked.Load()
	if got := brief(dig(t, ours, "svc.example.com A")); got != "SERVFAIL" {
		t.Errorf("in a loop: %s", got)
	}
	if got := brief(dig(t, ours, "web.service.consul A")); got != "NOERROR | A 10.0.0.1 | A 10.1.1.2" {
		t.Errorf("our own zone in a loop: %s", got)
	}
	if up.asked.Load() != before {
		t.Error("a recursor in a loop is asked")
	}
	if got := values(t, registry, "skerry_dns_recursors_left_out"); got != "1" {
		t.Errorf("%s recursors are left out", got)
	}
	mu.Lock()
	passesOn = false
	mu.Unlock()
	s.Reload(cfg) // probes at once
	eventually(t, "the end of the loop is not found", func() bool { return !s.paths.loops(up.addr) })
	if got := brief(dig(t, ours, "svc.example.com A")); got != "NOERROR | A 192.0.2.1" {
		t.Errorf("after the loop: %s", got)
	}
	if n := log.Count("passes our questions back"); n != 1 {
		t.Errorf("the loop is logged %d times", n)
	}
}

// Two servers that are each other's recursors both end the loop, or one of them.
func TestLoopOfTwo(t *testing.T) {
	p1, s1, port1 := listenOn(t, "127.0.0.1")
	p2, s2, port2 := listenOn(t, "127.0.0.1")
	one := New(self, basicCatalog(), withRecursors("127.0.0.1:"+port2))
	two := New(self, basicCatalog(), withRecursors("127.0.0.1:"+port1))
	serveOn(t, one, p1, s1)
	serveOn(t, two, p2, s2)
	eventually(t, "nobody finds the loop", func() bool {
		return one.paths.loops("127.0.0.1:"+port2) || two.paths.loops("127.0.0.1:"+port1)
	})
	if got := brief(dig(t, "127.0.0.1:"+port1, "svc.example.com A")); got != "SERVFAIL" {
		t.Error(got)
	}
}

// The probe of another server goes its way: it has a loop of its own to find.
func TestForeignProbeIsPassedOn(t *testing.T) {
	up := startUpstream(t, &upstream{zone: []string{"x." + probeZone + " 60 IN A 192.0.2.7"}})
	s := New(self, basicCatalog(), withRecursors(up.addr))
	if m := put(t, s, udp("192.0.2.1"), asked("X."+probeZone, dns.TypeA), time.Now()); brief(m) != "NOERROR | A 192.0.2.7" {
		t.Error(brief(m))
	}
}
