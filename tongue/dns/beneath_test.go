package dns

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// A resolver that asks label by label (RFC 9156) comes to every name that is there: no
// name above it is said not to be (RFC 8020).
func TestNamesAboveAreThere(t *testing.T) {
	c := oddCatalog()
	c.put(&skerry.Node{Name: "Host.Example.com", Address: "10.0.0.7"}, []*skerry.Instance{
		{ID: "tagged", Service: "Tagged", Port: 80, Tags: []string{"V1.2.3", "plain", "_under"}},
	})
	cfg := DefaultConfig()
	cfg.AltDomain = "alt.example"
	server := start(t, New(self, c, cfg))
	for _, question := range []string{
		"both.service.consul A", "both.service.dc1.consul A", "both.service.dc1.dc.consul SRV", "both.service.dc.consul A", "both.service.alt.example A",
		"v1.2.3.tagged.service.consul A", "plain.tagged.service.dc1.consul A", "_tagged._tcp.service.consul SRV", "_tagged._plain.consul SRV", "_tagged._plain.dc1.consul SRV",
		"_tagged.__under.service.dc1.dc.consul SRV",
		"host.example.com.node.consul A", "host.example.com.node.dc1.consul A", "dual.node.dc1.dc.consul A",
		"0a000001.addr.consul A", "both.virtual.consul A",
		"-x 10.0.0.1", "-x 2001:db8::5",
	} {
		m := dig(t, server, question)
		name := m.Question[0].Name
		if strings.Contains(question, "both.service.dc.") {
			if m.Rcode != dns.RcodeNameError {
				t.Errorf("%s: dc needs a datacenter before it", question)
			}
			continue
		}
		if m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %s", question, brief(m))
		}
		for _, above := range dns.Split(name)[1:] {
			parent := name[above:]
			if dns.CountLabel(parent) == 1 && parent != "consul." || parent == "example." || parent == "in-addr.arpa." || parent == "ip6.arpa." {
				break // not ours
			}
			for _, typ := range []string{"A", "ANY", "TXT", "CNAME", "MX"} {
				if m := dig(t, server, parent+" "+typ); m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 && parent == "consul." {
					t.Errorf("%s %s, above %s: %s", parent, typ, name, brief(m))
				}
			}
		}
	}
	for _, question := range []string{
		"other.consul A", "dc2.consul A", "service.dc2.consul A", "dc2.dc.consul A", "none.service.consul A", "none.none.service.consul A", "2.tagged.service.consul A",
		"ample.node.consul A", "none.com.node.consul A", "com.node.dc2.consul A", "none.addr.consul A", "a.addr.service.consul A", "_.service.consul A", "_tcp.node.consul A",
		"none._tcp.service.consul SRV",
	} {
		if m := dig(t, server, question); m.Rcode != dns.RcodeNameError {
			t.Errorf("%s: %s, with nothing beneath it", question, brief(m))
		}
	}
}

// What is beneath a name follows the catalog.
func TestNamesAboveNodesComeAndGo(t *testing.T) {
	c := basicCatalog()
	server := start(t, New(self, c, DefaultConfig()))
	rcode := func() int { return dig(t, server, "example.com.node.consul A").Rcode }
	if rcode() != dns.RcodeNameError {
		t.Error("there is no such node yet")
	}
	c.put(&skerry.Node{Name: "host.example.com", Address: "10.0.0.7"}, nil)
	if rcode() != dns.RcodeSuccess {
		t.Error("a node came beneath")
	}
}

// SOA and NS of any name in the zone are the zone's, also of one that is not there: a
// resolver looks for the zone of a name so.
func TestNamesOfTheZone(t *testing.T) {
	server := start(t, New(self, basicCatalog(), Config{}))
	for _, name := range []string{"consul", "service.consul", "web.service.consul", "none.service.consul", "x.y.z.consul"} {
		for typ, want := range map[string]string{"SOA": "NOERROR | A 127.0.0.1 | NS node-1.node.dc1.consul. | SOA", "NS": "NOERROR | A 127.0.0.1 | NS node-1.node.dc1.consul."} {
			if got := brief(dig(t, server, name+" "+typ)); got != want {
				t.Errorf("dig %s %s\n got %s\nwant %s", name, typ, got, want)
			}
		}
	}
}
