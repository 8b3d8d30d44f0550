package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// A network gets a second's worth at once, then its rate; a flood gets nothing in
// full until it has ended for as long as it was over, the window at most.
func TestRates(t *testing.T) {
	r, key := newRates(), rateKey(netip.MustParseAddr("192.0.2.1"), kindAnswered)
	full := func(from, to, step time.Duration) (n int) {
		for at := from; at < to; at += step {
			if r.take(key, at, 10, 1) == passed {
				n++
			}
		}
		return n
	}
	if n := full(0, time.Second, time.Microsecond*100); n != 10 {
		t.Errorf("%d full answers of a flood of 10,000, want a second's worth", n)
	}
	if n := full(time.Second, time.Minute, 50*time.Millisecond); n != 0 {
		t.Errorf("%d full answers while the flood lasts at twice the rate", n)
	}
	end := time.Minute
	if v := r.take(key, end+rateWindow-200*time.Millisecond, 10, 1); v == passed {
		t.Error("the flood is forgotten before the window is over")
	}
	if v := r.take(key, end+rateWindow+300*time.Millisecond, 10, 1); v != passed {
		t.Error("the flood is remembered for longer than the window")
	}
	if n := full(2*time.Minute, 3*time.Minute, 100*time.Millisecond); n != 600 {
		t.Errorf("%d full answers of 600 at the very rate", n)
	}
}

func TestSlip(t *testing.T) {
	for slip, want := range map[int][3]int{1: {5, 12, 0}, 2: {5, 6, 6}, 3: {5, 4, 8}, -1: {5, 0, 12}} {
		r := newRates()
		var got [3]int
		for range 17 {
			got[r.take(1, 0, 5, slip)-passed]++
		}
		if got != want {
			t.Errorf("slip %d: %v full, truncated, dropped; want %v", slip, got, want)
		}
	}
}

func TestRateKeys(t *testing.T) {
	key := func(s string) uint64 { return rateKey(peerOf(&net.UDPAddr{IP: net.ParseIP(s)}), kindAnswered) }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"192.0.2.1", "::ffff:192.0.2.77", true},
		{"2001:db8:0:ff00::1", "2001:db8:0:ffff:1::9", true}, // one /56
		{"2001:db8:0:ff00::1", "2001:db8:0:fe00::1", false},
		{"2001:db8::1", "2001:db9::1", false},
		{"0.0.0.1", "::1:0:0:0:1", false},
		{"0.0.0.0", "::", false},
	} {
		if same := key(c.a) == key(c.b); same != c.same {
			t.Errorf("%s and %s share a row: %v", c.a, c.b, same)
		}
	}
	ip := netip.MustParseAddr("192.0.2.1")
	if rateKey(ip, kindNothing) == rateKey(ip, kindFailed) || rateKey(netip.IPv4Unspecified(), kindAnswered) == 0 {
		t.Error("kinds share a row, or a key is 0")
	}
}

// More networks than there are rows neither grow the table nor free the one that floods.
func TestRatesAreBounded(t *testing.T) {
	r := newRates()
	flood := rateKey(netip.MustParseAddr("192.0.2.1"), kindAnswered)
	for range 100 {
		r.take(flood, 0, 10, 1)
	}
	for n := range uint32(4 * rateSets * rateWays) {
		at := time.Duration(n) * time.Microsecond
		r.take(5<<60|uint64(n), at, 10, 1)
		if n%16 == 0 {
			if r.take(flood, at, 10, 1) == passed {
				t.Fatalf("the flood is forgotten after %d other networks", n)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { r.take(flood, 0, 10, 1) }); n != 0 {
		t.Errorf("%v allocations for each answer", n)
	}
}

// put asks as a client at a time; nil is no answer.
func put(t testing.TB, s *Server, client net.Addr, q *dns.Msg, at time.Time) *dns.Msg {
	t.Helper()
	packed, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var came dns.Msg
	if err := came.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	w := &sink{client: client}
	typ, rcode := handler{s, context.Background()}.serve(w, &came, at)
	s.metrics.observe(typ, rcode, 0)
	if w.last == nil {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(w.last); err != nil {
		t.Fatal(err)
	}
	return m
}

func udp(ip string) net.Addr { return &net.UDPAddr{IP: net.ParseIP(ip), Port: 1000} }

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000} }

func asked(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}

// heavyCatalog has answers that are far longer than their questions.
func heavyCatalog() *fakeCatalog {
	c := manyCatalog()
	meta := map[string]string{}
	for n := range 30 {
		meta[fmt.Sprintf("key-%02d", n)] = fmt.Sprintf("%0100d", n)
	}
	c.put(&skerry.Node{Name: "heavy", Datacenter: "dc1", Address: "10.0.9.9", Meta: meta},
		one(skerry.Instance{ID: "heavy", Service: "heavy", Port: 1}))
	c.put(&skerry.Node{Name: "node-1", Datacenter: "dc1", Address: "127.0.0.1"}, one(skerry.Instance{ID: "consul", Service: "consul", Port: 8300}))
	return c
}

// Each kind of question is limited, whatever it is answered with.
func TestEveryAnswerIsLimited(t *testing.T) {
	up := startUpstream(t, &upstream{zone: exampleZone})
	now := time.Now().Add(time.Minute)
	for _, c := range []struct {
		name  string
		qtype uint16
	}{
		{"many.service.consul.", dns.TypeA}, {"many.service.consul.", dns.TypeSRV}, {"many.service.consul.", dns.TypeANY},
		{"heavy.node.consul.", dns.TypeTXT}, {"heavy.node.consul.", dns.TypeANY}, {"9.9.0.10.in-addr.arpa.", dns.TypePTR},
		{"consul.", dns.TypeSOA}, {"consul.", dns.TypeNS}, {"none.service.consul.", dns.TypeA}, {"many.service.consul.", dns.TypeMX},
		{"many.service.consul.", dns.TypeAXFR}, {"svc.example.com.", dns.TypeA}, {"9.9.9.10.in-addr.arpa.", dns.TypePTR},
	} {
		for _, client := range []string{"192.0.2.1", "2001:db8::1", "::ffff:198.51.100.1"} {
			cfg := withRecursors(up.addr)
			cfg.RateLimit = RateLimit{PerSecond: 3, Slip: 2}
			s := New(self, heavyCatalog(), cfg)
			var full, cut, none int
			for range 9 {
				switch m := put(t, s, udp(client), asked(c.name, c.qtype), now); {
				case m == nil:
					none++
				case m.Truncated && len(m.Answer)+len(m.Ns)+len(m.Extra) == 0:
					cut++
					if foreign := strings.HasPrefix(c.name, "svc.") || strings.HasPrefix(c.name, "9.9.9."); m.Authoritative && foreign {
						t.Errorf("%s: AA is %v", c.name, m.Authoritative)
					}
				default:
					full++
				}
			}
			if full != 3 || cut != 3 || none != 3 {
				t.Errorf("%s %s from %s: %d full, %d truncated, %d dropped; want 3 each", c.name, dns.TypeToString[c.qtype], client, full, cut, none)
			}
			if m := put(t, s, tcp(client), asked(c.name, c.qtype), now); m == nil || m.Truncated {
				t.Errorf("%s from %s over TCP: %v", c.name, client, m)
			}
		}
	}
}

// What is over the limit costs recursors nothing.
func TestLimitedIsNotRecursed(t *testing.T) {
	for _, name := range []string{"svc.example.com.", "named.service.consul.", "n6.node.consul."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			up := startUpstream(t, &upstream{zone: exampleZone})
			cfg := withRecursors(up.addr)
			cfg.RateLimit = RateLimit{PerSecond: 1, Slip: 2}
			s := New(self, basicCatalog(), cfg)
			at := time.Now()
			put(t, s, udp("192.0.2.1"), asked(name, qtype), at)
			before := up.asked.Load()
			for range 5 {
				put(t, s, udp("192.0.2.1"), asked(name, qtype), at)
			}
			if more := up.asked.Load() - before; more != 0 {
				t.Errorf("%s %s: the recursor was asked %d times", name, dns.TypeToString[qtype], more)
			}
		}
	}
}

func TestWhoIsLimited(t *testing.T) {
	now := time.Now().Add(time.Minute)
	for _, c := range []struct {
		client  net.Addr
		exempt  string
		limited bool
	}{
		{udp("192.0.2.1"), "198.51.100.0/24", true},
		{udp("192.0.2.1"), "192.0.0.0/16", false},
		{udp("::ffff:192.0.2.1"), "192.0.0.0/16", false},
		{udp("192.0.2.1"), "::ffff:192.0.0.0/112", false},
		{udp("2001:db8::1"), "2001:db8::/32", false},
		{udp("2001:db8::1"), "0.0.0.0/0", true},
		{udp("127.0.0.1"), "", false},
		{udp("127.9.9.9"), "", false},
		{udp("::1"), "", false},
		{udp("::ffff:127.0.0.1"), "", false},
		{&net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "", true},
		{&net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::/10", false},
		{tcp("192.0.2.1"), "", false},
	} {
		cfg := DefaultConfig()
		cfg.RateLimit.PerSecond = 1
		if c.exempt != "" {
			cfg.RateLimit.Exempt = []netip.Prefix{netip.MustParsePrefix(c.exempt)}
		}
		s := New(self, basicCatalog(), cfg)
		limited := false
		for range 3 {
			limited = put(t, s, c.client, asked("web.service.consul.", dns.TypeA), now).Truncated
		}
		if limited != c.limited {
			t.Errorf("%v with %q exempt: limited is %v", c.client, c.exempt, limited)
		}
	}
	off := DefaultConfig()
	off.RateLimit.PerSecond = -1
	s := New(self, basicCatalog(), off)
	for range 2000 {
		if put(t, s, udp("192.0.2.1"), asked("web.service.consul.", dns.TypeA), now).Truncated {
			t.Fatal("answers are limited although the limit is off")
		}
	}
	if s.rates.Load() != nil {
		t.Error("a table is made that nobody needs")
	}
}

func TestLimitedMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	cfg := DefaultConfig()
	cfg.Registerer, cfg.RateLimit = registry, RateLimit{PerSecond: 1, Slip: 2}
	s := New(self, basicCatalog(), cfg)
	for range 5 {
		put(t, s, udp("192.0.2.1"), asked("web.service.consul.", dns.TypeA), time.Now())
	}
	if got := values(t, registry, "skerry_dns_limited_total"); got != "badcookie 0, dropped 2, truncated 2" {
		t.Errorf("limited: %s", got)
	}
	if got := values(t, registry, "skerry_dns_queries_total"); got != "NOERROR A 3, dropped A 2" {
		t.Errorf("queries: %s", got)
	}
}

// udp_max holds for strangers, whatever they say that they take; a part that is left
// out for it is told by TC.
func TestUDPMax(t *testing.T) {
	up := startUpstream(t, &upstream{zone: func() (zone []string) {
		for n := range 100 {
			zone = append(zone, fmt.Sprintf("big.example.com. 60 IN A 10.3.0.%d", n))
		}
		return zone
	}()})
	for _, c := range []struct {
		client     net.Addr
		most, size int
		want       int
	}{
		{udp("192.0.2.1"), 0, 4096, 1232},
		{udp("192.0.2.1"), 0, 65535, 1232},
		{udp("2001:db8::1"), 0, 4096, 1232},
		{udp("::ffff:192.0.2.1"), 0, 4096, 1232},
		{udp("192.0.2.1"), 0, 800, 800},
		{udp("192.0.2.1"), 0, 0, 512},
		{udp("192.0.2.1"), 512, 4096, 512},
		{udp("192.0.2.1"), 2000, 4096, 2000},
		{udp("127.0.0.1"), 0, 4096, 4096},
		{udp("::1"), 512, 4096, 4096},
		{udp("::ffff:127.0.0.1"), 0, 4096, 4096},
		{tcp("192.0.2.1"), 512, 0, 65535},
	} {
		cfg := withRecursors(up.addr)
		cfg.UDPMax = c.most
		s := New(self, heavyCatalog(), cfg)
		for _, question := range []struct {
			name  string
			qtype uint16
		}{
			{"many.service.consul.", dns.TypeA}, {"many.service.consul.", dns.TypeSRV}, {"many.service.consul.", dns.TypeANY},
			{"heavy.node.consul.", dns.TypeANY}, {"heavy.node.consul.", dns.TypeTXT}, {"big.example.com.", dns.TypeA},
		} {
			q := asked(question.name, question.qtype)
			if c.size > 0 {
				q.SetEdns0(uint16(c.size), false)
			}
			w := &sink{client: c.client}
			handler{s, context.Background()}.ServeDNS(w, q)
			var m dns.Msg
			if err := m.Unpack(w.last); err != nil {
				t.Fatal(err)
			}
			if len(w.last) > c.want {
				t.Errorf("%s %s: %d bytes to %v that takes %d, want %d at most", question.name, dns.TypeToString[question.qtype], len(w.last), c.client, c.size, c.want)
			}
			all := 50
			switch question.name[0] {
			case 'h':
				all = map[uint16]int{dns.TypeANY: 31, dns.TypeTXT: 30}[question.qtype]
			case 'b':
				all = 100
			}
			if bounded := c.size > c.want; bounded && len(m.Answer) < all && !m.Truncated {
				t.Errorf("%s %s: %d of %d records to %v without TC", question.name, dns.TypeToString[question.qtype], len(m.Answer), all, c.client)
			}
		}
	}
}

// What is no question is answered within the rate too, and then not at all.
func TestMalformedIsLimited(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RateLimit.PerSecond = 2
	s := New(self, basicCatalog(), cfg)
	for _, client := range []string{"192.0.2.1", "127.0.0.1"} {
		w := &packetWriter{sink: sink{client: udp(client)}}
		for range 5 {
			if n, err := (errorWriter{w, s}).Write(make([]byte, headerSize)); n != headerSize || err != nil {
				t.Fatal(n, err)
			}
		}
		want := 2 * headerSize
		if client == "127.0.0.1" {
			want = 5 * headerSize
		}
		if w.bytes != want {
			t.Errorf("%d bytes to %s, want %d", w.bytes, client, want)
		}
	}
}

// packetWriter is what the library writes its own errors to.
type packetWriter struct{ sink }

// BenchmarkStranger is BenchmarkServe for a client that is limited, within its rate
// and over it.
func BenchmarkStranger(b *testing.B) {
	for name, rate := range map[string]int{"within": maxRate, "over": 1} {
		b.Run(name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.RateLimit.PerSecond = rate
			h := handler{New(self, tenCatalog(), cfg), context.Background()}
			q := benchQuestion(dns.TypeA)
			w := &sink{client: udp("192.0.2.1")}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeDNS(w, q)
			}
		})
	}
}
