package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// upstream is a recursor on loopback that answers from records.
type upstream struct {
	addr  string
	asked atomic.Int32
	rcode int
	zone  []string            // records in zone file form
	alone bool                // one record in an answer: what a CNAME leads to is left to the asker
	big   int                 // over UDP, answers to A have TC and no records when set
	seen  func(q, m *dns.Msg) // if set, is shown the question and may change the answer
}

func startUpstream(t *testing.T, u *upstream) *upstream {
	t.Helper()
	packet, stream := listen(t)
	u.addr = packet.LocalAddr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	for _, srv := range []*dns.Server{{PacketConn: packet, Handler: u}, {Listener: stream, Handler: u}} {
		go func() { done <- run(ctx, srv) }()
	}
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
	})
	return u
}

func (u *upstream) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if !strings.HasSuffix(q.Question[0].Name, probeZone) {
		u.asked.Add(1)
	}
	m := new(dns.Msg)
	m.SetRcode(q, u.rcode)
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	if u.big > 0 && !tcp {
		m.Truncated = true
		_ = w.WriteMsg(m)
		return
	}
	name := q.Question[0].Name
	for _, line := range u.zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err)
		}
		if !strings.EqualFold(rr.Header().Name, name) {
			continue
		}
		if cname, ok := rr.(*dns.CNAME); ok {
			name = cname.Target
			m.Answer = append(m.Answer, rr)
			if u.alone {
				break
			}
		} else if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if u.seen != nil {
		u.seen(q, m)
	}
	_ = w.WriteMsg(m)
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	packet, stream := listen(t)
	defer packet.Close()
	defer stream.Close()
	return packet.LocalAddr().String()
}

func withRecursors(addrs ...string) Config {
	c := DefaultConfig()
	c.Recursors = addrs
	return c
}

var exampleZone = []string{
	"svc.example.com. 60 IN A 192.0.2.1",
	"svc.example.com. 60 IN AAAA 2001:db8:1::1",
	"host.example.com. 60 IN CNAME real.example.com.",
	"real.example.com. 60 IN A 192.0.2.2",
	"real.example.com. 60 IN AAAA 2001:db8:1::2",
	"9.9.9.10.in-addr.arpa. 60 IN PTR outside.example.com.",
}

func TestRecursion(t *testing.T) {
	up := startUpstream(t, &upstream{zone: exampleZone})
	server := start(t, New(self, basicCatalog(), withRecursors(up.addr)))
	for question, want := range map[string]string{
		"svc.example.com A":         "NOERROR | A 192.0.2.1",
		"svc.example.com AAAA +tcp": "NOERROR | AAAA 2001:db8:1::1",
		"-x 10.9.9.9":               "NOERROR | PTR outside.example.com.",
		"-x 10.0.0.1":               "NOERROR | PTR n1.node.dc1.consul.",
		"named.service.consul A":    "NOERROR | A 192.0.2.1 | CNAME svc.example.com.",
		"named.service.consul AAAA": "NOERROR | AAAA 2001:db8:1::1 | CNAME svc.example.com.",
		"named.service.consul ANY":  "NOERROR | A 192.0.2.1 | AAAA 2001:db8:1::1 | CNAME svc.example.com.",
		"named.service.consul SRV":  "NOERROR | A 192.0.2.1 | AAAA 2001:db8:1::1 | SRV 1 1 85 svc.example.com.",
		"named.service.consul MX":   "NOERROR | SOA",
		"n6.node.consul A":          "NOERROR | A 192.0.2.2 | CNAME host.example.com. | CNAME real.example.com.",
		"n6.node.consul ANY":        "NOERROR | A 192.0.2.2 | AAAA 2001:db8:1::2 | CNAME host.example.com. | CNAME real.example.com.",
		"none.node.consul A":        "NXDOMAIN | SOA",
	} {
		m := dig(t, server, question)
		if got := brief(m); got != want {
			t.Errorf("dig %s\n got %s\nwant %s", question, got, want)
		}
		if !m.RecursionAvailable {
			t.Errorf("dig %s: no RA", question)
		}
	}
}

func TestRecursorTruncation(t *testing.T) {
	up := startUpstream(t, &upstream{zone: exampleZone, big: 1})
	server := start(t, New(self, basicCatalog(), withRecursors(up.addr)))
	if m := dig(t, server, "svc.example.com A"); !m.Truncated {
		t.Error("the recursor's TC was dropped")
	}
	if got := brief(dig(t, server, "named.service.consul A")); got != "NOERROR | A 192.0.2.1 | CNAME svc.example.com." {
		t.Errorf("a CNAME's target was not asked again over TCP: %s", got)
	}
}

func TestFailover(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	failing := startUpstream(t, &upstream{rcode: dns.RcodeServerFailure})
	good := startUpstream(t, &upstream{zone: exampleZone})
	dead := closedPort(t)
	cfg := withRecursors(dead, failing.addr, good.addr)
	cfg.Registerer = registry
	server := start(t, New(self, basicCatalog(), cfg))
	for range 3 {
		if got := brief(dig(t, server, "svc.example.com A")); got != "NOERROR | A 192.0.2.1" {
			t.Fatal(got)
		}
	}
	// Sequential: the first ones are asked first, every time.
	if n := failing.asked.Load(); n != 3 {
		t.Errorf("the second recursor was asked %d times, want 3", n)
	}
	want := []string{dead + " 3", failing.addr + " 3"}
	if got := values(t, registry, "skerry_dns_recursor_failures_total"); got != strings.Join(sorted(want), ", ") {
		t.Errorf("failures: %s, want %v", got, want)
	}
}

func TestFailures(t *testing.T) {
	failing := startUpstream(t, &upstream{rcode: dns.RcodeRefused})
	wrong := startUpstream(t, &upstream{})
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nobody answers":        {withRecursors(closedPort(t)), "SERVFAIL"},
		"the only one refuses":  {withRecursors(failing.addr), "REFUSED"},
		"the name is not there": {withRecursors(wrong.addr), "NOERROR"},
	} {
		m := dig(t, start(t, New(self, basicCatalog(), c.cfg)), "nothing.example.com A")
		if got := brief(m); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestRandomRecursors(t *testing.T) {
	a := startUpstream(t, &upstream{zone: exampleZone})
	b := startUpstream(t, &upstream{zone: exampleZone})
	cfg := withRecursors(a.addr, b.addr)
	cfg.RecursorStrategy = Random
	server := start(t, New(self, basicCatalog(), cfg))
	for range 60 {
		dig(t, server, "svc.example.com A")
	}
	if a.asked.Load() == 0 || b.asked.Load() == 0 || a.asked.Load()+b.asked.Load() != 60 {
		t.Errorf("asked %d and %d times", a.asked.Load(), b.asked.Load())
	}
}

// silent is a recursor that takes questions and never answers.
func silent(t *testing.T) (addr string, asked <-chan struct{}) {
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{}, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; got <- struct{}{} {
			if _, _, err := packet.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		packet.Close()
		<-done
	})
	return packet.LocalAddr().String(), got
}

func TestRecursorTimeout(t *testing.T) {
	addr, _ := silent(t)
	good := startUpstream(t, &upstream{zone: exampleZone})
	cfg := withRecursors(addr, good.addr)
	cfg.RecursorTimeout = 50 * time.Millisecond
	if got := brief(dig(t, start(t, New(self, basicCatalog(), cfg)), "svc.example.com A")); got != "NOERROR | A 192.0.2.1" {
		t.Error(got)
	}
}

// A question that waits for a recursor does not hold up the end of Serve.
func TestStopDuringRecursion(t *testing.T) {
	addr, asked := silent(t)
	cfg := withRecursors(addr)
	cfg.RecursorTimeout = time.Hour
	s := New(self, basicCatalog(), cfg)
	packet, _ := listenUDP(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, packet, nil) }()
	conn, err := net.Dial("udp", packet.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := new(dns.Msg)
	q.SetQuestion("svc.example.com.", dns.TypeA)
	packed, _ := q.Pack()
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	<-asked
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Serve waits for the recursor")
	}
}

func listenUDP(t *testing.T) (net.PacketConn, string) {
	packet, stream := listen(t)
	stream.Close()
	return packet, packet.LocalAddr().String()
}

// Names of our own zone are resolved without recursors, and loops end.
func TestCNAMEInside(t *testing.T) {
	c := basicCatalog()
	c.put(&skerry.Node{Name: "alias", Address: "n1.node.consul"}, []*skerry.Instance{
		{ID: "1", Service: "alias", Port: 1, Address: "web.service.consul"},
		{ID: "2", Service: "loop", Port: 1, Address: "loop.service.consul"},
		{ID: "3", Service: "ring-1", Port: 1, Address: "ring-2.service.consul"},
		{ID: "4", Service: "ring-2", Port: 1, Address: "RING-1.service.consul"},
	})
	server := start(t, New(self, c, DefaultConfig()))
	for question, want := range map[string]string{
		"alias.service.consul A":   "NOERROR | A 10.0.0.1 | A 10.1.1.2 | CNAME web.service.consul.",
		"alias.service.consul SRV": "NOERROR | A 10.0.0.1 | A 10.1.1.2 | SRV 1 1 1 web.service.consul.",
		"loop.service.consul A":    "NOERROR | CNAME loop.service.consul.",
		"ring-1.service.consul A":  "NOERROR | CNAME RING-1.service.consul. | CNAME ring-2.service.consul.",
	} {
		m := dig(t, server, question)
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTXT })
		if got := brief(m); got != want {
			t.Errorf("dig %s\n got %s\nwant %s", question, got, want)
		}
	}
}

// A chain of CNAMEs is followed to its end, wherever it leads, and each name is asked once.
func TestCNAMEChains(t *testing.T) {
	c := basicCatalog()
	c.put(&skerry.Node{Name: "away", Address: "10.0.0.9"}, []*skerry.Instance{
		{ID: "1", Service: "back", Port: 1, Address: "back.example.com"},
		{ID: "2", Service: "far", Port: 1, Address: "step-0.example.com"},
		{ID: "3", Service: "gone", Port: 1, Address: "gone.example.com"},
		{ID: "4", Service: "ring", Port: 1, Address: "ring.example.com"},
		{ID: "5", Service: "there", Port: 1, Address: "there.example.com"},
	})
	zone := []string{
		"back.example.com. 60 IN CNAME web.service.consul.",
		"named.example.com. 60 IN CNAME named.service.consul.",
		"none.example.com. 60 IN CNAME none.service.consul.",
		"gone.example.com. 60 IN CNAME nothing.example.com.",
		"ring.example.com. 60 IN CNAME ring.service.consul.",
		"there.example.com. 60 IN CNAME back.service.consul.",
		"svc.example.com. 60 IN A 192.0.2.1",
	}
	for i := range 20 {
		zone = append(zone, fmt.Sprintf("step-%d.example.com. 60 IN CNAME step-%d.example.com.", i, i+1))
	}
	up := startUpstream(t, &upstream{zone: zone, alone: true, seen: func(q, m *dns.Msg) {
		// As the public's servers do, it knows nothing of our zone.
		if name := q.Question[0].Name; strings.HasSuffix(name, ".consul.") {
			t.Errorf("the recursor was asked for %s", name)
		}
		if n := len(m.Answer); n > 0 && strings.HasSuffix(m.Answer[n-1].String(), "consul.") || n == 0 {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: "."}}
		}
	}})
	server := start(t, New(self, c, withRecursors(up.addr)))
	for _, tt := range []struct {
		question, want string
		asked          int32 // of the recursor
	}{
		{"back.service.consul A", "NOERROR | A 10.0.0.1 | A 10.1.1.2 | CNAME back.example.com. | CNAME web.service.consul.", 1},
		{"back.example.com A", "NOERROR | A 10.0.0.1 | A 10.1.1.2 | CNAME web.service.consul.", 1},
		{"back.example.com AAAA", "NXDOMAIN | CNAME web.service.consul. | SOA", 1},
		{"back.example.com CNAME", "NXDOMAIN | CNAME web.service.consul. | SOA", 1},
		{"named.example.com A", "NOERROR | A 192.0.2.1 | CNAME named.service.consul. | CNAME svc.example.com.", 2},
		{"none.example.com A", "NXDOMAIN | CNAME none.service.consul. | SOA", 1},
		{"gone.service.consul A", "NOERROR | CNAME gone.example.com. | CNAME nothing.example.com.", 2},
		{"ring.service.consul A", "NOERROR | CNAME ring.example.com. | CNAME ring.service.consul.", 1},
		{"there.service.consul A", "NOERROR | A 10.0.0.1 | A 10.1.1.2 | CNAME back.example.com. | CNAME back.service.consul. | CNAME there.example.com. | CNAME web.service.consul.", 2},
		{"there.service.consul SRV", "NOERROR | A 10.0.0.1 | A 10.1.1.2 | CNAME back.example.com. | CNAME back.service.consul. | CNAME web.service.consul. | SRV 1 1 1 there.example.com.", 4},
	} {
		before := up.asked.Load()
		m := dig(t, server, tt.question)
		if got := brief(m); got != tt.want {
			t.Errorf("dig %s\n got %s\nwant %s", tt.question, got, tt.want)
		}
		if n := up.asked.Load() - before; n != tt.asked {
			t.Errorf("dig %s asks the recursor %d times, want %d", tt.question, n, tt.asked)
		}
	}
	if m := dig(t, server, "far.service.consul A"); len(m.Answer) != maxChain+1 {
		t.Errorf("a chain that never ends has %d names, want %d", len(m.Answer), maxChain+1)
	}
}
