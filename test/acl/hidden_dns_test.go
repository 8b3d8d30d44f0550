package acl

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/node"
)

// DNS answers for what its token may not see with the same bytes as for what is not there.
func TestHiddenInDNS(t *testing.T) {
	secret := "bbbbbbbb-0000-4000-8000-00000000000b"
	c := start(t, func(cfg *node.Config) {
		hiding(cfg)
		cfg.Door.DNS = []string{"127.0.0.1:0"}
		cfg.DNS.Domain = "consul"
		cfg.ACL.Tokens = map[string]string{access.DNSToken: secret}
	})
	c.scenery()
	c.make(put, "/v1/acl/token", `{"SecretID":"`+secret+`","Policies":[{"Name":"asker"}]}`, "")
	c.make(post, "/v1/query", `{"Name":"find-web","Service":{"Service":"web"}}`, "")
	asked := func() (out []string) {
		for _, name := range []string{
			"web.service.consul.", "pale.web.service.consul.", "ghost.service.consul.", "GHOST.service.consul.", "_ghost._tcp.service.consul.",
			"ghost.virtual.consul.", "dark.node.consul.", "DARK.node.dc1.consul.", "haunted.node.consul.", "spook.query.consul.", "find-web.query.consul.",
			"find-ghost.query.consul.", "0a000009.addr.consul.", "9.0.0.10.in-addr.arpa.", "8.0.0.10.in-addr.arpa.", "consul.",
		} {
			for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeANY, dns.TypePTR, dns.TypeNS, dns.TypeSOA} {
				m := new(dns.Msg)
				m.SetQuestion(name, typ)
				m.Id = 1
				r, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, c.dns)
				if err != nil {
					t.Fatal(err)
				}
				for _, section := range [][]dns.RR{r.Answer, r.Ns, r.Extra} {
					slices.SortFunc(section, func(a, b dns.RR) int { return strings.Compare(a.String(), b.String()) })
					for _, rr := range section {
						if soa, ok := rr.(*dns.SOA); ok {
							soa.Serial = 0 // the time
						}
					}
				}
				out = append(out, r.String())
			}
		}
		return out
	}
	without := asked()
	if !strings.Contains(without[0], "10.0.0.1") {
		t.Fatalf("what it may see is not answered: %s", without[0])
	}
	for _, g := range []ghost{hiddenService, hiddenNode, hiddenQuery, hiddenLocal} {
		id := c.appear(g)
		for i, with := range asked() {
			if with != without[i] {
				t.Errorf("%s\nwithout:\n%s\nwith:\n%s", g.name, without[i], with)
			}
		}
		c.do(g.undo, id)
	}
}

// A login is refused with the same words whether its auth method is there or not.
func TestHiddenAuthMethod(t *testing.T) {
	c := start(t, hiding)
	login := by(post, "/v1/acl/login", `{"AuthMethod":"idp","BearerToken":"no.such.token"}`)
	without, _ := c.full(login, "")
	c.make(put, "/v1/acl/auth-method", `{"Name":"idp","Type":"jwt","Config":{"JWKSURL":"http://127.0.0.1:1/"}}`, "")
	if with, _ := c.full(login, ""); with != without {
		t.Errorf("without:\n%s\nwith:\n%s", without, with)
	}
}
