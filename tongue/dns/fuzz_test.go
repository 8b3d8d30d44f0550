package dns

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// FuzzMessage puts arbitrary packets to the handler. What can be unpacked gets
// exactly one answer, which can be unpacked, answers the question that was asked,
// and is no longer than the client takes.
func FuzzMessage(f *testing.F) {
	for _, question := range []string{
		"web.service.consul.", "release.web.service.dc1.consul.", "_web._tcp.consul.", "N1.node.dc1.dc.consul.",
		"named.service.consul.", "0a000001.addr.consul.", "1.0.0.10.in-addr.arpa.", "consul.", ".", "example.com.",
		`web\.service.consul.`, `a\000b.web.service.consul.`, "many.service.consul.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeANY, dns.TypeTXT, dns.TypeSOA, dns.TypePTR} {
			m := new(dns.Msg)
			m.SetQuestion(question, qtype)
			m.SetEdns0(800, true)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}}
			packed, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packed, qtype%2 == 0, uint8(qtype))
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: someCookie})
			if packed, err = m.Pack(); err != nil {
				f.Fatal(err)
			}
			f.Add(packed, false, uint8(qtype)|8)
		}
	}
	catalog := manyCatalog()
	for _, v := range basicCatalog().nodes {
		catalog.put(v.Node, v.Instances, v.Checks...)
	}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool, settings uint8) {
		var q dns.Msg
		if q.Unpack(packet) != nil {
			return
		}
		cfg := DefaultConfig()
		cfg.EnableTruncate = settings&1 != 0
		cfg.DisableCompression = settings&2 != 0
		cfg.OnlyPassing = settings&4 != 0
		cfg.ARecordLimit = int(settings >> 6)
		w := &sink{client: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}}
		limit := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			limit = max(limit, int(opt.UDPSize()))
		}
		stranger := settings&8 != 0
		if stranger {
			w.client, limit = udp("2001:db8::1"), min(limit, 1232)
		}
		if tcp {
			w.client, limit = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, dns.MaxMsgSize
		}
		handler{New(self, catalog, cfg), context.Background()}.ServeDNS(w, &q)
		var a dns.Msg
		if err := a.Unpack(w.last); err != nil {
			t.Fatalf("the answer cannot be unpacked: %v", err)
		}
		if w.bytes != len(w.last) {
			t.Fatal("there is more than one answer")
		}
		// A refusal repeats what was asked, however long.
		if len(w.last) > limit && len(q.Question) == 1 {
			t.Fatalf("%d bytes for a client that takes %d", len(w.last), limit)
		}
		if a.Id != q.Id || !a.Response || len(q.Question) == 1 && (len(a.Question) != 1 || a.Question[0] != q.Question[0]) {
			t.Fatalf("another question was answered: %v", a)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"web.service", "a.web.service.dc1.dc", "_web._tcp", "n.a.node", `a\.b\032c.service`, `\`, `.`, "_._._", "dc.dc.dc", `x\25`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToLower(s)
		n := parseName(s)
		if n.form == noForm {
			if n != (name{}) {
				t.Errorf("%q stands for nothing, but is %+v", s, n)
			}
			return
		}
		if n.form != serviceForm && n.form != queryForm && n.tag != "" {
			t.Errorf("%q has a tag: %+v", s, n)
		}
		if strings.ContainsRune(s, '\\') {
			return
		}
		// Without escapes every part is a part of the whole.
		for _, part := range []string{n.name, n.tag, n.dc} {
			if !strings.Contains(s, part) {
				t.Errorf("%q has no %q", s, part)
			}
		}
		if n.dc != "" && !strings.HasSuffix(s, "."+n.dc) && !strings.HasSuffix(s, "."+n.dc+".dc") {
			t.Errorf("%q is not in datacenter %q", s, n.dc)
		}
	})
}

func FuzzReverseName(f *testing.F) {
	for _, ip := range []string{"10.0.0.1", "2001:db8::1", "::ffff:1.2.3.4"} {
		arpa, err := dns.ReverseAddr(ip)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(arpa)
	}
	f.Add(".in-addr.arpa.")
	f.Add("1.2.3.0x4.in-addr.arpa.")
	f.Add(strings.Repeat("g.", 32) + "ip6.arpa.")
	f.Fuzz(func(t *testing.T, s string) {
		ip, ok := reverseName(s)
		if ip.IsValid() && !ok {
			t.Fatalf("%q has an address but is no reverse name", s)
		}
		if !ip.IsValid() || strings.ToLower(s) != s {
			return
		}
		// ReverseAddr writes IPv4 in IPv6 as IPv4.
		if back, err := dns.ReverseAddr(ip.String()); err != nil || back != s && !ip.Is4In6() {
			t.Errorf("%q is %v, whose name is %q (%v)", s, ip, back, err)
		}
	})
}

// FuzzAnswer gives arbitrary bytes to Answer, which another process passes on. An answer has the question's id and can be read.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.service.consul.", "n1.node.consul.", "none.service.consul.", "1.0.0.127.in-addr.arpa.", "elsewhere.example."} {
		packed, err := new(dns.Msg).SetQuestion(name, dns.TypeANY).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	s := New(skerry.Self{Name: "n1", Datacenter: "dc1"}, basicCatalog(), DefaultConfig())
	f.Fuzz(func(t *testing.T, query []byte) {
		packed, err := s.Answer(t.Context(), query)
		if err != nil {
			return
		}
		var m dns.Msg
		if err := m.Unpack(packed); err != nil || m.Id != uint16(query[0])<<8|uint16(query[1]) {
			t.Errorf("%x is answered with %x: %v", query, packed, err)
		}
	})
}
