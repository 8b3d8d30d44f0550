package dns

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// fakeQueries answers with the instances of a service in the catalog's order, or
// backwards when it is asked from 10.9.9.9.
type fakeQueries struct {
	*fakeCatalog
	agents chan string // of those who asked
}

func (f *fakeQueries) ExecuteQuery(name string, ask skerry.QueryAsk) (*skerry.QueryResult, error) {
	select {
	case f.agents <- ask.Agent:
	default:
	}
	service, ttl, ok := strings.Cut(name, ".")
	if name == "none" {
		return nil, skerry.Errorf(skerry.NotFound, "Query not found")
	}
	r := &skerry.QueryResult{View: f.Service(service), Nearest: true, HasTTL: ok}
	r.TTL, _ = time.ParseDuration(ttl)
	r.Entries = append(r.Entries, r.View.Entries...)
	if ask.Source == netip.MustParseAddr("10.9.9.9") {
		for i, e := range r.View.Entries {
			r.Entries[len(r.Entries)-1-i] = e
		}
	}
	return r, nil
}

func (f *fakeQueries) QueriesBeneath(name string) bool { return name == "parent" }

func TestQueryNames(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ServiceTTL = map[string]time.Duration{"*": 5 * time.Second}
	cfg.Queries = &fakeQueries{fakeCatalog: oddCatalog()}
	server := start(t, New(self, oddCatalog(), cfg))
	for _, c := range []struct {
		dig, want string
		ttl       uint32
	}{
		{"own.query.consul A", "NOERROR | A 10.5.5.5", 5},
		{"OWN.query.dc1.consul A", "NOERROR | A 10.5.5.5", 5},
		{"own.7s.query.consul A", "NOERROR | A 10.5.5.5", 7},
		{"own.0s.query.dc1.dc.consul A", "NOERROR | A 10.5.5.5", 0},
		{"_own._tcp.query.consul A", "NOERROR | A 10.5.5.5", 5},
		{"_own._udp.query.consul A", "NXDOMAIN | SOA", 0},
		{"own.query.dc9.consul A", "NXDOMAIN | SOA", 0},
		{"none.query.consul A", "NXDOMAIN | SOA", 0},
		{"parent.query.consul A", "NOERROR | SOA", 0},
		{"parent.query.dc9.consul A", "NXDOMAIN | SOA", 0},
		{"empty.query.consul A", "NXDOMAIN | SOA", 0},
		{"both.query.consul AAAA", "NOERROR | AAAA 2001:db8::1", 5},
		{"own.query.consul MX", "NOERROR | SOA", 0},
	} {
		m := dig(t, server, c.dig)
		if got := brief(m); got != c.want {
			t.Errorf("%s: %s, want %s", c.dig, got, c.want)
		}
		for _, rr := range m.Answer {
			if rr.Header().Ttl != c.ttl {
				t.Errorf("%s: TTL %d, want %d", c.dig, rr.Header().Ttl, c.ttl)
			}
		}
	}
}

// The nearest instances come first, also when there is no room for all.
func TestQueryKeepsTheOrder(t *testing.T) {
	c := newFake()
	for _, ip := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		c.put(&skerry.Node{Name: "n" + ip[7:], Address: ip}, one(skerry.Instance{ID: "w", Service: "web", Port: 80}))
	}
	q := &fakeQueries{fakeCatalog: c, agents: make(chan string, 1)}
	cfg := DefaultConfig()
	cfg.Queries = q
	server := start(t, New(self, c, cfg))
	for _, test := range []struct{ dig, want string }{
		{"web.query.consul A +noedns", "10.0.0.1 10.0.0.2 10.0.0.3"}, // no more without EDNS
		{"web.query.consul A +subnet=10.9.9.9/32", "10.0.0.4 10.0.0.3 10.0.0.2 10.0.0.1"},
	} {
		var got []string
		for _, rr := range dig(t, server, test.dig).Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.dig, got, test.want)
		}
	}
	if agent := <-q.agents; agent != self.Name {
		t.Errorf("asked as %q", agent)
	}
}
