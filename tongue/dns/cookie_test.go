package dns

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The cookies of RFC 9018, appendix A.
func TestCookieVectors(t *testing.T) {
	for _, c := range []struct {
		client, ip, secret, server string
		at                         int64
	}{
		{"2464c4abcf10c957", "198.51.100.100", "e5e973e5a6b2a43f48e7dc849e37bfcf", "010000005cf79f111f8130c3eee29480", 1559731985},
		{"22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "dd3bdf9344b678b185a6f5cb60fca715", "010000005cf7c57926556bd0934c72f8", 1559741817},
	} {
		secret := [16]byte(unhex(t, c.secret))
		client, ip := unhex(t, c.client), netip.MustParseAddr(c.ip)
		got := bake(&secret, client, ip, uint32(c.at))
		if hex.EncodeToString(got[:]) != c.server {
			t.Errorf("%s: %x, want %s", c.ip, got, c.server)
		}
		secrets := &cookieSecrets{present: secret}
		for age, want := range map[time.Duration]bool{
			0: true, time.Hour: true, time.Hour + time.Second: false, -5 * time.Minute: true, -5*time.Minute - time.Second: false,
		} {
			if ok := secrets.valid(client, got[:], ip, time.Unix(c.at, 0).Add(age)); ok != want {
				t.Errorf("%s after %v: %v", c.ip, age, ok)
			}
		}
		for i := range got {
			bad := got
			bad[i] ^= 1
			if secrets.valid(client, bad[:], ip, time.Unix(c.at, 0)) {
				t.Errorf("%s: valid with byte %d changed", c.ip, i)
			}
		}
		if secrets.valid(client, got[:], netip.MustParseAddr("192.0.2.9"), time.Unix(c.at, 0)) {
			t.Error("a cookie is valid for another address")
		}
	}
}

// The bits that are reserved count as they come, and those of another version do not.
func TestCookieReservedBits(t *testing.T) {
	secrets := &cookieSecrets{present: [16]byte(unhex(t, "e5e973e5a6b2a43f48e7dc849e37bfcf"))}
	client, ip := unhex(t, "fc93fc62807ddb86"), netip.MustParseAddr("203.0.113.203")
	server := unhex(t, "01abcdef5cf78f71a314227b6679ebf5")
	if at := time.Unix(0x5cf78f71, 0); !secrets.valid(client, server, ip, at) {
		t.Error("the cookie of RFC 9018, A.3 is not valid")
	} else if server[0] = 2; secrets.valid(client, server, ip, at) {
		t.Error("a cookie of version 2 is valid")
	}
}

func TestCookieSecretsRotate(t *testing.T) {
	var c cookies
	start, client, ip := time.Unix(1_800_000_000, 0), make([]byte, clientCookie), netip.MustParseAddr("192.0.2.1")
	first := c.at(start)
	if c.at(start.Add(cookieSecret-time.Second)) != first {
		t.Error("the secret changes before its time")
	}
	late := start.Add(cookieSecret - time.Second)
	cookie := bake(&first.present, client, ip, uint32(late.Unix()))
	second := c.at(start.Add(cookieSecret))
	if second.present == first.present || !second.valid(client, cookie[:], ip, late.Add(time.Minute)) {
		t.Error("the secret stays, or a cookie of the one before is not taken")
	}
	third := c.at(start.Add(2 * cookieSecret))
	if third.valid(client, cookie[:], ip, late.Add(time.Minute)) {
		t.Error("a secret outlives its successor")
	}
}

const someCookie = "0123456789abcdef"

// withCookie adds an OPT record with these cookies to a question.
func withCookie(q *dns.Msg, size uint16, cookies ...string) *dns.Msg {
	q.SetEdns0(size, false)
	for _, c := range cookies {
		q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c})
	}
	return q
}

func cookieOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

// Every answer to a question with a cookie has one, in all the ways that answers are made.
func TestCookieIsAnswered(t *testing.T) {
	up := startUpstream(t, &upstream{zone: exampleZone})
	for question, rcode := range map[string]int{
		"web.service.consul. A": 0, "web.service.consul. SRV": 0, "named.service.consul. A": 0, "named.service.consul. SRV": 0, "n1.node.consul. ANY": 0, "consul. SOA": 0,
		"none.service.consul. A": dns.RcodeNameError, "svc.example.com. A": 0, "web.service.consul. AXFR": dns.RcodeRefused,
	} {
		name, typ, _ := strings.Cut(question, " ")
		for _, client := range []net.Addr{udp("192.0.2.1"), udp("127.0.0.1"), udp("2001:db8::1"), udp("::ffff:192.0.2.1"), tcp("192.0.2.1")} {
			s := New(self, basicCatalog(), withRecursors(up.addr))
			now := time.Now()
			first := put(t, s, client, withCookie(asked(name, dns.StringToType[typ]), 1232, someCookie), now)
			got := cookieOf(first)
			if !strings.HasPrefix(got, someCookie) || len(got) != 2*(clientCookie+serverCookie) || first.Rcode != rcode {
				t.Fatalf("%s from %v: %s, cookie %q", question, client, brief(first), got)
			}
			if !(&s.cookies).at(now).valid(unhex(t, got[:16]), unhex(t, got[16:]), peerOf(client), now) {
				t.Errorf("%s from %v: the cookie is not valid", question, client)
			}
			// The first of several counts.
			if again := put(t, s, client, withCookie(asked(name, dns.StringToType[typ]), 1232, got, "00"), now); !strings.HasPrefix(cookieOf(again), someCookie) {
				t.Errorf("%s from %v: %q with two cookies", question, client, cookieOf(again))
			}
		}
		if plain := put(t, New(self, basicCatalog(), withRecursors(up.addr)), udp("127.0.0.1"), withCookie(asked(name, dns.StringToType[typ]), 1232), time.Now()); cookieOf(plain) != "" {
			t.Errorf("%s: a cookie for a question without one", question)
		}
	}
}

// A cut answer has the cookie too, and is no longer than the client takes.
func TestCookieInCutAnswer(t *testing.T) {
	s := New(self, heavyCatalog(), DefaultConfig())
	for _, name := range []string{"many.service.consul.", "heavy.node.consul."} {
		for size := uint16(512); size < 700; size += 13 {
			w := &sink{client: udp("127.0.0.1")}
			handler{s, context.Background()}.ServeDNS(w, withCookie(asked(name, dns.TypeANY), size, someCookie))
			var m dns.Msg
			if err := m.Unpack(w.last); err != nil || cookieOf(&m) == "" || len(w.last) > int(size) {
				t.Errorf("%s in %d bytes: %d bytes, cookie %q, %v", name, size, len(w.last), cookieOf(&m), err)
			}
		}
	}
}

func TestMalformedCookie(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	cfg := DefaultConfig()
	cfg.Registerer = registry
	s := New(self, basicCatalog(), cfg)
	for bytes, rcode := range map[int]int{
		0: dns.RcodeFormatError, 1: dns.RcodeFormatError, 7: dns.RcodeFormatError, 8: 0, 9: dns.RcodeFormatError, 15: dns.RcodeFormatError,
		16: 0, 24: 0, 40: 0, 41: dns.RcodeFormatError, 500: dns.RcodeFormatError,
	} {
		for _, client := range []net.Addr{udp("127.0.0.1"), tcp("192.0.2.1")} {
			m := put(t, s, client, withCookie(asked("web.service.consul.", dns.TypeA), 1232, strings.Repeat("ab", bytes)), time.Now())
			if m.Rcode != rcode || (rcode == 0) != (cookieOf(m) != "") {
				t.Errorf("a cookie of %d bytes: %s, cookie %q", bytes, brief(m), cookieOf(m))
			}
		}
	}
	if got := values(t, registry, "skerry_dns_cookies_total"); got != "invalid 6, malformed 14, new 2, valid 0" {
		t.Errorf("cookies: %s", got)
	}
}

// A client without a question learns its cookie.
func TestCookieAlone(t *testing.T) {
	server := start(t, New(self, basicCatalog(), DefaultConfig()))
	for _, network := range []string{"udp", "tcp"} {
		q := withCookie(new(dns.Msg), 1232, someCookie)
		q.Id = 7
		m, _, err := (&dns.Client{Net: network}).Exchange(q, server)
		if err != nil || m.Rcode != 0 || len(m.Answer) != 0 || !strings.HasPrefix(cookieOf(m), someCookie) {
			t.Errorf("%s: %v, %v", network, m, err)
		}
		q = withCookie(new(dns.Msg), 1232)
		if m, _, err := (&dns.Client{Net: network}).Exchange(q, server); err != nil || m.Rcode != dns.RcodeFormatError {
			t.Errorf("%s, without a cookie: %v, %v", network, m, err)
		}
	}
}

// A client that brings its cookie back is neither limited nor bound by udp_max; one
// that has none yet is told to come back with it.
func TestCookieLiftsLimits(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RateLimit.PerSecond = 2
	s := New(self, heavyCatalog(), cfg)
	now, client := time.Now(), udp("192.0.2.1")
	ask := func(cookie string) *dns.Msg {
		return put(t, s, client, withCookie(asked("many.service.consul.", dns.TypeSRV), 4096, cookie), now)
	}
	cookie := cookieOf(ask(someCookie))
	ask(someCookie)
	limited := ask(someCookie)
	if limited.Rcode != dns.RcodeBadCookie || limited.Truncated || len(limited.Answer) != 0 || cookieOf(limited) != cookie {
		t.Fatalf("over the limit: %v", limited)
	}
	for range 20 {
		if m := ask(cookie); m.Rcode != 0 || m.Truncated || len(m.Answer) < 40 {
			t.Fatalf("with a cookie: %s, %d answers", dns.RcodeToString[m.Rcode], len(m.Answer))
		}
	}
	forged := cookie[:len(cookie)-2] + "00"
	if m := ask(forged); m.Rcode != dns.RcodeBadCookie {
		t.Errorf("with a forged cookie: %s", dns.RcodeToString[m.Rcode])
	}
	client = udp("192.0.2.2") // the same network, another address
	if m := ask(cookie); m.Rcode != dns.RcodeBadCookie {
		t.Errorf("with another's cookie: %s", dns.RcodeToString[m.Rcode])
	}
}

// A cookie goes no further than to us, and that of a recursor not to the client.
func TestCookieIsNotPassedOn(t *testing.T) {
	var leaked atomic.Bool
	up := startUpstream(t, &upstream{zone: exampleZone, seen: func(q, m *dns.Msg) {
		if cookieOf(q) != "" {
			leaked.Store(true)
		}
		withCookie(m, 1232, strings.Repeat("ee", 24))
	}})
	s := New(self, basicCatalog(), withRecursors(up.addr))
	for _, c := range []string{"", someCookie} {
		q := asked("svc.example.com.", dns.TypeA).SetEdns0(1232, false)
		if c != "" {
			q = withCookie(asked("svc.example.com.", dns.TypeA), 1232, c)
		}
		m := put(t, s, udp("192.0.2.1"), q, time.Now())
		if got := cookieOf(m); !strings.HasPrefix(got, c) || strings.Contains(got, "eeee") || (got == "") != (c == "") || len(m.Answer) != 1 {
			t.Errorf("with %q: %s, cookie %q", c, brief(m), got)
		}
	}
	if leaked.Load() {
		t.Error("the recursor has seen the client's cookie")
	}
}
