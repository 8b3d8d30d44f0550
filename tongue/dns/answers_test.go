package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// oddCatalog holds what the recordings do not: both families, odd names, odd
// ports, several host names, tags and weights.
func oddCatalog() *fakeCatalog {
	c := newFake()
	c.put(&skerry.Node{Name: "dual", Address: "10.0.0.1", TaggedAddresses: map[string]string{"lan_ipv4": "10.0.0.1", "lan_ipv6": "2001:db8::1"}},
		[]*skerry.Instance{
			{ID: "a", Service: "both", Port: 80},
			{ID: "b", Service: "both", Port: 81},
			{ID: "own", Service: "own", Port: 80, Address: "2001:db8::5", TaggedAddresses: map[string]skerry.Endpoint{"lan_ipv4": {Address: "10.5.5.5", Port: 80}}},
			{ID: "mapped", Service: "mapped", Port: 80, Address: "::ffff:10.7.7.7"},
		})
	c.put(&skerry.Node{Name: "db.example", Address: "10.0.0.2", Datacenter: "dc1"}, []*skerry.Instance{
		{ID: "up", Service: "Upper", Port: 80, Tags: []string{"V1.2"}},
		{ID: "low", Service: "upper", Port: 81, Address: "10.8.8.8"},
		{ID: "p1", Service: "ports", Port: -1},
		{ID: "p2", Service: "ports", Port: 70000},
		{ID: "p3", Service: "ports", Port: 0},
		{ID: "h1", Service: "mixed", Port: 80, Address: "one.example.com"},
		{ID: "h2", Service: "mixed", Port: 81},
		{ID: "bad", Service: "bad", Port: 80, Address: "not..a.name"},
	})
	c.put(&skerry.Node{Name: "odd-node", Address: "10.0.0.6:80"}, []*skerry.Instance{
		{ID: "oa1", Service: "odd-address", Port: 1, Address: "[2001:db8::1]"},
		{ID: "oa2", Service: "odd-address", Port: 1, Address: "10.0.0.1:80"},
		{ID: "oa3", Service: "odd-address", Port: 1, Address: "https://x"},
		{ID: "oa4", Service: "odd-address", Port: 1},
		{ID: "oa5", Service: "one-odd", Port: 1, Address: "10.0.0.300"},
		{ID: "oa6", Service: "one-odd", Port: 1, Address: "10.0.0.2"},
	})
	c.put(&skerry.Node{Name: "no dns name", Address: "10.0.0.3"}, []*skerry.Instance{
		{ID: "x", Service: "spaced", Port: 80},
		{ID: "y", Service: "my service", Port: 80, Address: "10.3.3.3"},
	})
	c.put(&skerry.Node{Name: "hosts", Address: "10.0.0.4"}, []*skerry.Instance{
		{ID: "1", Service: "hosts", Port: 1, Address: "one.example.com"},
		{ID: "2", Service: "hosts", Port: 2, Address: "two.example.com"},
	})
	c.put(&skerry.Node{Name: "sick", Address: "10.0.0.5"}, []*skerry.Instance{
		{ID: "w", Service: "warns", Port: 80, Weights: skerry.Weights{Passing: 10, Warning: 3}},
		{ID: "z", Service: "zero", Port: 80, Weights: skerry.Weights{Passing: 0, Warning: 1}},
		{ID: "o", Service: "over", Port: 80, Weights: skerry.Weights{Passing: 1 << 20, Warning: 1}},
		{ID: "odd", Service: "odd", Port: 80, Weights: skerry.Weights{Passing: 7, Warning: 2}},
		{ID: "m", Service: "maintained", Port: 80},
	}, check("w", skerry.Warning), check("odd", "pending"),
		&skerry.Check{ID: "_service_maintenance:m", ServiceID: "m", Status: skerry.Critical, Type: skerry.TypeMaintenance})
	return c
}

// TestAnswers reads: with this configuration, this question has these records.
func TestAnswers(t *testing.T) {
	plain := DefaultConfig()
	with := func(f func(*Config)) Config { c := DefaultConfig(); f(&c); return c }
	for _, c := range []struct {
		name string
		cfg  Config
		dig  string
		want string // the status and the records of all sections, ordered
	}{
		{"both families of a node", plain, "dual.node.consul ANY", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1"},
		{"one family of a node", plain, "dual.node.consul AAAA", "NOERROR | AAAA 2001:db8::1"},
		{"instances with one address are one answer", plain, "both.service.consul A", "NOERROR | A 10.0.0.1"},
		{"the node's other family", plain, "both.service.consul AAAA", "NOERROR | AAAA 2001:db8::1"},
		{"a target's addresses come once", plain, "both.service.consul SRV", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1 | SRV 1 1 80 dual.node.dc1.consul. | SRV 1 1 81 dual.node.dc1.consul."},
		{"tagged address of a service", plain, "own.service.consul A", "NOERROR | A 10.5.5.5"},
		{"main address of a service", plain, "own.service.consul SRV", "NOERROR | AAAA 2001:db8::5 | SRV 1 1 80 20010db8000000000000000000000005.addr.dc1.consul."},
		{"IPv4 in IPv6 is IPv4", plain, "mapped.service.consul A", "NOERROR | A 10.7.7.7"},

		{"a service of two spellings", plain, "uPPer.service.consul A", "NOERROR | A 10.0.0.2 | A 10.8.8.8"},
		{"a tag with a dot, as it is", plain, "v1.2.upper.service.consul A", "NOERROR | A 10.0.0.2"},
		{"a part of a tag", plain, "2.upper.service.consul A", "NOERROR | SOA"},
		{"no part of a tag", plain, "1.upper.service.consul A", "NXDOMAIN | SOA"},
		{"an address that is no host name", plain, "odd-address.service.consul A", "NOERROR | SOA"},
		{"and its SRV", plain, "odd-address.service.consul SRV", "NOERROR | SOA"},
		{"beside one that is", plain, "one-odd.service.consul A", "NOERROR | A 10.0.0.2"},
		{"a node with such an address", plain, "odd-node.node.consul A", "NOERROR"},
		{"a tag with a dot, escaped", plain, `v1\.2.upper.service.consul A`, "NOERROR | A 10.0.0.2"},
		{"a tag with a dot, RFC 2782", plain, `_UPPER._v1\.2.consul SRV`, "NOERROR | A 10.0.0.2 | SRV 1 1 80 db.example.node.dc1.consul."},
		{"a node with a dot", plain, "db.example.node.consul A", "NOERROR | A 10.0.0.2"},
		{"a node with a space", plain, `no\032dns\032name.node.consul A`, "NOERROR | A 10.0.0.3"},
		{"a node that no name fits is named by address", plain, "spaced.service.consul SRV", "NOERROR | A 10.0.0.3 | SRV 1 1 80 0a000003.addr.dc1.consul."},
		{"reverse of what has no name", plain, "-x 10.3.3.3", "NXDOMAIN | SOA"},
		{"an escaped dot is not the zone's", plain, `web\.consul A`, "REFUSED"},

		{"datacenter in two forms, RFC 2782", plain, "_own._tcp.dc1.dc.consul A", "NOERROR | A 10.5.5.5"},
		{"datacenter without service, RFC 2782", plain, "_own._tcp.dc1.consul A", "NOERROR | A 10.5.5.5"},
		{"unknown datacenter, RFC 2782", plain, "_own._tcp.dc9.consul SRV", "NXDOMAIN | SOA"},
		{"datacenter in capitals", plain, "own.service.DC1.consul A", "NOERROR | A 10.5.5.5"},
		{"without prepared queries there is none", plain, "x.query.consul A", "NXDOMAIN | SOA"},
		{"an unknown virtual name", plain, "none.virtual.consul A", "NXDOMAIN | SOA"},
		{"an address of another type", plain, "0a000001.addr.consul MX", "NOERROR | A 10.0.0.1"},

		{"ports that are none are left out", plain, "ports.service.consul SRV", "NOERROR | A 10.0.0.2 | SRV 1 1 0 db.example.node.dc1.consul."},
		{"addresses win over host names", plain, "mixed.service.consul A", "NOERROR | A 10.0.0.2"},
		{"so a CNAME is not there for another type", plain, "mixed.service.consul AAAA", "NOERROR | SOA"},
		{"SRV names both", plain, "mixed.service.consul SRV", "NOERROR | A 10.0.0.2 | SRV 1 1 80 one.example.com. | SRV 1 1 81 db.example.node.dc1.consul."},
		{"an address that is no name", plain, "bad.service.consul A", "NOERROR | SOA"},
		{"an address that is no name, SRV", plain, "bad.service.consul SRV", "NOERROR | SOA"},

		{"weight of a warning", plain, "warns.service.consul SRV", "NOERROR | A 10.0.0.5 | SRV 1 3 80 sick.node.dc1.consul."},
		{"weight zero", plain, "zero.service.consul SRV", "NOERROR | A 10.0.0.5 | SRV 1 0 80 sick.node.dc1.consul."},
		{"weight too great", plain, "over.service.consul SRV", "NOERROR | A 10.0.0.5 | SRV 1 65535 80 sick.node.dc1.consul."},
		{"an unknown state is not passing", plain, "odd.service.consul SRV", "NOERROR | A 10.0.0.5 | SRV 1 2 80 sick.node.dc1.consul."},
		{"maintenance", plain, "maintained.service.consul A", "NXDOMAIN | SOA"},
		{"only_passing", with(func(c *Config) { c.OnlyPassing = true }), "warns.service.consul A", "NXDOMAIN | SOA"},

		{"alt_domain is answered in its own name", with(func(c *Config) { c.AltDomain = "alt.example" }), "both.service.alt.example SRV", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1 | SRV 1 1 80 dual.node.dc1.alt.example. | SRV 1 1 81 dual.node.dc1.alt.example."},
		{"alt_domain below the domain", with(func(c *Config) { c.AltDomain = "alt.consul" }), "dual.node.alt.consul A", "NOERROR | A 10.0.0.1"},
		{"PTR is in the primary domain", with(func(c *Config) { c.AltDomain = "alt.example" }), "-x 2001:db8::5", "NOERROR | PTR own.service.dc1.consul."},
		{"PTR name, another type", plain, "5.5.5.10.in-addr.arpa A", "NXDOMAIN | SOA"},
		{"part of a reverse name", plain, "10.in-addr.arpa PTR", "NOERROR | SOA"},
		{"a server without servers names itself", plain, "consul NS", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1 | NS dual.node.dc1.consul."},

		{"a_record_limit over TCP", with(func(c *Config) { c.ARecordLimit = 1 }), "own.service.consul ANY +tcp", "NOERROR | 1 of A, AAAA"},
		{"a_record_limit is not for SRV", with(func(c *Config) { c.ARecordLimit = 1 }), "both.service.consul SRV +tcp", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1 | SRV 1 1 80 dual.node.dc1.consul. | SRV 1 1 81 dual.node.dc1.consul."},
		{"no compression", with(func(c *Config) { c.DisableCompression = true }), "both.service.consul SRV", "NOERROR | A 10.0.0.1 | AAAA 2001:db8::1 | SRV 1 1 80 dual.node.dc1.consul. | SRV 1 1 81 dual.node.dc1.consul."},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := dig(t, start(t, New(self, oddCatalog(), c.cfg)), c.dig)
			got := brief(m)
			if c.want == "NOERROR | 1 of A, AAAA" {
				if len(m.Answer) != 1 || m.Truncated {
					t.Errorf("got %s, want one answer without TC", got)
				}
				return
			}
			if got != c.want {
				t.Errorf("dig %s\n got %s\nwant %s", c.dig, got, c.want)
			}
		})
	}
}

// brief is an answer's status and its records without owners.
func brief(m *dns.Msg) string {
	var out []string
	for _, rr := range slices.Concat(m.Answer, m.Ns, withoutOPT(m.Extra)) {
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		if rr.Header().Rrtype == dns.TypeSOA {
			data = ""
		}
		out = append(out, strings.TrimSpace(dns.TypeToString[rr.Header().Rrtype]+" "+data))
	}
	slices.Sort(out)
	return strings.Join(append([]string{dns.RcodeToString[m.Rcode]}, out...), " | ")
}

func TestOneCNAME(t *testing.T) {
	s := New(self, oddCatalog(), DefaultConfig())
	seen := map[string]bool{}
	for range 200 {
		m := askFrom(t, s, "127.0.0.1", "hosts.service.consul.", dns.TypeA, 0)
		if len(m.Answer) != 1 {
			t.Fatalf("%d answers; a name has one CNAME at most", len(m.Answer))
		}
		seen[m.Answer[0].(*dns.CNAME).Target] = true
	}
	if len(seen) != 2 {
		t.Errorf("only %v was ever named", seen)
	}
}

func TestTTL(t *testing.T) {
	c := DefaultConfig()
	c.NodeTTL = 7 * time.Second
	c.ServiceTTL = map[string]time.Duration{"*": time.Second, "bo*": 2 * time.Second, "b*": 3 * time.Second, "Own": 1500 * time.Millisecond, "warns": 0}
	c.SOA.MinTTL = 9
	server := start(t, New(self, oddCatalog(), c))
	for question, want := range map[string]uint32{
		"both.service.consul SRV":  2,
		"bad.service.consul A":     9,
		"own.service.consul AAAA":  1,
		"warns.service.consul A":   0,
		"mixed.service.consul A":   1,
		"dual.node.consul A":       7,
		"0a000001.addr.consul A":   7,
		"none.service.consul A":    9,
		"-x 10.0.0.1":              7,
		"-x 2001:db8::5":           7,
		"upper.service.consul ANY": 1,
	} {
		m := dig(t, server, question)
		for _, rr := range slices.Concat(m.Answer, m.Ns, withoutOPT(m.Extra)) {
			if rr.Header().Ttl != want {
				t.Errorf("%s: TTL %d, want %d: %v", question, rr.Header().Ttl, want, rr)
			}
		}
	}
}

// askFrom asks the handler as a client with this IP address: over UDP with EDNS of
// this size, over UDP without when it is 0, over TCP when it is negative.
func askFrom(t testing.TB, s *Server, ip, name string, qtype uint16, size int) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	w := &sink{client: &net.UDPAddr{IP: net.ParseIP(ip), Port: 1000}}
	if size > 0 {
		q.SetEdns0(uint16(size), false)
	} else if size < 0 {
		w.client = &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000}
	}
	handler{s, context.Background()}.ServeDNS(w, q)
	m := new(dns.Msg)
	if err := m.Unpack(w.last); err != nil {
		t.Fatal(err)
	}
	if limit := max(512, size); size >= 0 && len(w.last) > limit {
		t.Fatalf("%d bytes for a client that takes %d", len(w.last), limit)
	}
	return m
}

func answers(m *dns.Msg) (out []string) {
	for _, rr := range m.Answer {
		out = append(out, rr.String())
	}
	return out
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func TestCutIsStablePerClient(t *testing.T) {
	c := manyCatalog()
	cfg := DefaultConfig()
	cfg.RateLimit.PerSecond = -1
	s := New(self, c, cfg)
	uses := map[string]int{}
	before := map[string][]string{}
	orders := map[string]bool{}
	for n := range 250 {
		client := fmt.Sprintf("10.9.0.%d", n)
		first := answers(askFrom(t, s, client, "many.service.consul.", dns.TypeA, 0))
		for range 5 {
			again := answers(askFrom(t, s, client, "many.service.consul.", dns.TypeA, 0))
			if !slices.Equal(sorted(first), sorted(again)) {
				t.Fatalf("%s got %v, then %v", client, first, again)
			}
			orders[fmt.Sprint(slices.Equal(first, again))] = true
		}
		before[client] = sorted(first)
		for _, rr := range first {
			uses[rr]++
		}
	}
	if len(orders) != 2 {
		t.Error("the order of answers never changed")
	}
	// 750 answers over 50 instances: 15 each, give or take.
	if len(uses) != 50 {
		t.Errorf("%d of 50 instances are ever answered", len(uses))
	}
	for rr, n := range uses {
		if n < 3 || n > 35 {
			t.Errorf("%s was answered to %d of 250 clients", rr, n)
		}
	}

	// An instance that leaves changes the answers of those clients alone that had it.
	c.put(&skerry.Node{Name: "m007", Datacenter: "dc1", Address: "10.0.1.7"}, nil)
	for client, was := range before {
		now := sorted(answers(askFrom(t, s, client, "many.service.consul.", dns.TypeA, 0)))
		kept := 0
		for _, rr := range was {
			if slices.Contains(now, rr) {
				kept++
			}
		}
		had := strings.Contains(strings.Join(was, "\n")+"\n", "10.0.1.7\n")
		if want := map[bool]int{true: 2, false: 3}[had]; kept != want {
			t.Errorf("%s kept %d of its answers, want %d", client, kept, want)
		}
	}
}

func TestTruncation(t *testing.T) {
	cut := DefaultConfig()
	cut.EnableTruncate = true
	policy := cut
	policy.ARecordLimit = 2
	for _, c := range []struct {
		name    string
		cfg     Config
		qtype   uint16
		size    int // as askFrom has it
		answers int
		tc      bool
	}{
		{"off", DefaultConfig(), dns.TypeA, 0, 3, false},
		{"on, for the limit without EDNS", cut, dns.TypeA, 0, 3, true},
		{"on, for the size", cut, dns.TypeSRV, 1232, 21, true},
		{"on, nothing left out", cut, dns.TypeA, 1232, 50, false},
		{"on, over TCP", cut, dns.TypeSRV, -1, 50, false},
		{"a_record_limit is no want of room", policy, dns.TypeA, 1232, 2, false},
		{"a_record_limit below the limit without EDNS", policy, dns.TypeA, 0, 2, false},
	} {
		m := askFrom(t, New(self, manyCatalog(), c.cfg), "127.0.0.1", "many.service.consul.", c.qtype, c.size)
		if len(m.Answer) != c.answers || m.Truncated != c.tc {
			t.Errorf("%s: %d answers, TC %t; want %d, %t", c.name, len(m.Answer), m.Truncated, c.answers, c.tc)
		}
	}
}

// A service with 5,000 instances: TCP gives as many as 64 KB hold, and says so.
func TestHugeService(t *testing.T) {
	c := newFake()
	var instances []*skerry.Instance
	for n := range 5000 {
		instances = append(instances, &skerry.Instance{ID: fmt.Sprint(n), Service: "huge", Port: n, Address: fmt.Sprintf("10.1.%d.%d", n/250, n%250+1)})
	}
	c.put(&skerry.Node{Name: "n", Address: "10.0.0.1", Datacenter: "dc1"}, instances)
	cfg := DefaultConfig()
	cfg.EnableTruncate = true
	s := New(self, c, cfg)
	for qtype, least := range map[uint16]int{dns.TypeA: 4090, dns.TypeSRV: 1000} {
		m := askFrom(t, s, "127.0.0.1", "huge.service.consul.", qtype, -1)
		if len(m.Answer) < least || !m.Truncated {
			t.Errorf("%s: %d answers, TC %t; want at least %d with TC", dns.TypeToString[qtype], len(m.Answer), m.Truncated, least)
		}
		targets := map[string]bool{}
		for _, rr := range m.Answer {
			if srv, ok := rr.(*dns.SRV); ok {
				targets[srv.Target] = true
			}
		}
		for _, rr := range m.Extra {
			if !targets[rr.Header().Name] {
				t.Fatalf("%v belongs to no answer", rr)
			}
		}
	}
}

// One answer that leaves no room for its address comes without; one that has no
// room at all sets TC, though enable_truncate is off.
func TestNoRoomForOne(t *testing.T) {
	label := strings.Repeat("n", 60)
	c := newFake()
	c.put(&skerry.Node{Name: "n", Address: "10.0.0.1"}, []*skerry.Instance{
		{ID: "1", Service: label, Port: 1, Address: strings.Repeat("h23456789.", 20) + "example.com", Tags: []string{label}},
	})
	cfg := DefaultConfig()
	cfg.Domain = strings.Repeat("d", 58) + "." + strings.Repeat("e", 58) + "."
	m := askFrom(t, New(self, c, cfg), "127.0.0.1", label+"."+label+".service."+cfg.Domain, dns.TypeSRV, 0)
	if len(m.Answer) != 1 {
		t.Errorf("%d answers, TC %t", len(m.Answer), m.Truncated)
	}
	cfg.DisableCompression = true
	m = askFrom(t, New(self, c, cfg), "127.0.0.1", label+"."+label+".service."+cfg.Domain, dns.TypeSRV, 0)
	if len(m.Answer) != 0 || !m.Truncated {
		t.Errorf("%d answers, TC %t; want none with TC", len(m.Answer), m.Truncated)
	}
}

// Made-up tags must not fill a view's memo, which other answers need.
func TestUnknownTagsAreNotKept(t *testing.T) {
	c := basicCatalog()
	s := New(self, c, DefaultConfig())
	for n := range 200 {
		askFrom(t, s, "127.0.0.1", fmt.Sprintf("t%d.web.service.consul.", n), dns.TypeA, 0)
	}
	askFrom(t, s, "127.0.0.1", "web.service.consul.", dns.TypeA, 0)
	key := s.state.Load().primary.keys[kindA]
	rendered := false
	c.Service("web").Memo(key, func() []byte { rendered = true; return nil })
	if rendered {
		t.Error("the answer was not kept")
	}
}

func TestValidate(t *testing.T) {
	for want, c := range map[string]Config{
		"":                  {Recursors: []string{"8.8.8.8", "::1", "[::1]:53", "resolver.example:5353", "resolver.example"}},
		"domain":            {Domain: "a..b"},
		"recursors":         {Recursors: []string{"host:1:2"}},
		"recursor_strategy": {RecursorStrategy: "fastest"},
		"a_record_limit":    {ARecordLimit: -1},
		"node_ttl":          {NodeTTL: -1},
		"service_ttl":       {ServiceTTL: map[string]time.Duration{"x": -1}},
		"udp_max":           {UDPMax: 511},
		"rate_limit":        {RateLimit: RateLimit{PerSecond: -2}},
	} {
		err := c.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Validate: %v, want %q", err, want)
		}
	}
}
