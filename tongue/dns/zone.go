package dns

import (
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// serverService is the service of the servers of a datacenter.
const serverService = "consul"

// maxServers is the largest number of name servers in an answer.
const maxServers = 3

// soa returns the zone's SOA record. Its TTL is the minimum TTL, since resolvers
// remember a missing name for the smaller of both.
func (z *zone) soa(st *state) *dns.SOA {
	return &dns.SOA{
		Hdr:     header(z.name, dns.TypeSOA, st.SOA.MinTTL),
		Ns:      "ns" + z.suffix,
		Mbox:    "hostmaster" + z.suffix,
		Serial:  uint32(time.Now().Unix()),
		Refresh: st.SOA.Refresh,
		Retry:   st.SOA.Retry,
		Expire:  st.SOA.Expire,
		Minttl:  st.SOA.MinTTL,
	}
}

// apex answers NS and SOA, as Consul does for every name in the zone.
func (s *Server) apex(q *question) answer {
	m := q.message()
	servers, glue := s.nameServers(q)
	if q.typ == dns.TypeNS {
		m.Answer = servers
	} else {
		m.Answer = []dns.RR{q.zone.soa(q.st)}
		m.Ns = servers
	}
	m.Extra = glue
	return answer{msg: m}
}

// nameServers returns the nodes that servers run on, else this one.
func (s *Server) nameServers(q *question) (servers, glue []dns.RR) {
	var nodes []*skerry.Node
	for _, e := range q.st.pipeline("").Select(s.catalog.Service(serverService).Entries) {
		nodes = append(nodes, e.Node)
	}
	if len(nodes) == 0 {
		if v := s.catalog.Node(q.st.self.Name); v != nil {
			nodes = append(nodes, v.Node)
		}
	}
	ttl := seconds(q.st.NodeTTL)
	for _, i := range rand.Perm(len(nodes)) {
		target := q.st.nodeTarget(nodes[i], q.zone)
		a := nodeAddresses(nodes[i])
		if target == "" || !a.main.IsValid() {
			continue // a name server needs a name and an address
		}
		servers = append(servers, &dns.NS{Hdr: header(q.zone.name, dns.TypeNS, ttl), Ns: target})
		glue = append(glue, addressRecords(target, dns.TypeANY, a, ttl)...)
		if len(servers) == maxServers {
			break
		}
	}
	return servers, glue
}
