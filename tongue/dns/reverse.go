package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// reverse answers in-addr.arpa and ip6.arpa: the names of what has the address.
// What is not in the catalog is the recursors', if there are any.
func (s *Server) reverse(q *question, ip netip.Addr) answer {
	m := q.message()
	seen := map[string]bool{}
	if ip.IsValid() {
		for _, o := range s.catalog.Lookup(ip.String()) {
			target, ttl := q.st.nodeTarget(o.Node, q.zone), seconds(q.st.NodeTTL)
			if i := o.Instance; i != nil {
				target, ttl = "", q.st.serviceTTL(strings.ToLower(i.Service))
				if askable(i.Service) {
					target = i.Service + ".service." + q.st.datacenterOf(o.Node) + q.zone.suffix
				}
			}
			if target == "" || seen[target] || wireName(target) == nil {
				continue
			}
			seen[target] = true
			m.Answer = append(m.Answer, &dns.PTR{Hdr: header(q.name, dns.TypePTR, ttl), Ptr: target})
		}
	}
	switch {
	case len(m.Answer) > 0 && q.typ != dns.TypePTR && q.typ != dns.TypeANY:
		return q.empty()
	case len(m.Answer) > 0:
		return answer{msg: m}
	case len(q.st.recursors) > 0:
		return s.forward(q)
	}
	return q.missing()
}
