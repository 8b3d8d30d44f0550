package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// node answers a question about a node: its addresses, and its metadata as TXT.
func (s *Server) node(q *question, name string) answer {
	v := s.catalog.Node(name)
	if v == nil {
		return q.missing()
	}
	m := q.message()
	ttl := seconds(q.st.NodeTTL)
	a := nodeAddresses(v.Node)
	switch q.typ {
	case dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeCNAME:
		if a.host == "" {
			m.Answer = addressRecords(q.name, q.typ, a, ttl)
			break
		}
		if !s.admit(q, kindAnswered) {
			return answer{}
		}
		m.Answer = []dns.RR{&dns.CNAME{Hdr: header(q.name, dns.TypeCNAME, ttl), Target: a.host}}
		m.Answer = append(m.Answer, s.follow(q, a.host)...)
	}
	switch q.typ {
	case dns.TypeTXT:
		m.Answer = metaRecords(q.name, v.Node.Meta, ttl)
	case dns.TypeANY:
		m.Answer = append(m.Answer, metaRecords(q.name, v.Node.Meta, ttl)...)
	case dns.TypeA, dns.TypeAAAA:
		if q.st.AdditionalNodeMetaTXT {
			m.Extra = metaRecords(q.name, v.Node.Meta, ttl)
		}
	}
	return answer{msg: m}
}

// address answers <hex>.addr: the address itself, in the additional section when
// another type was asked for.
func (s *Server) address(q *question, digits string) answer {
	ip, ok := parseHex(digits)
	if !ok {
		return q.missing()
	}
	m := q.message()
	rr := addressRecord(q.name, ip, seconds(q.st.NodeTTL))
	if q.typ == dns.TypeANY || q.typ == addressType(ip) {
		m.Answer = []dns.RR{rr}
	} else {
		m.Extra = []dns.RR{rr}
	}
	return answer{msg: m}
}

// addressRecords returns the records of one type, or of both for ANY.
func addressRecords(owner string, qtype uint16, a addresses, ttl uint32) (out []dns.RR) {
	for _, ip := range [...]netip.Addr{a.v4, a.v6} {
		if ip.IsValid() && (qtype == dns.TypeANY || qtype == addressType(ip)) {
			out = append(out, addressRecord(owner, ip, ttl))
		}
	}
	return out
}

func addressRecord(owner string, ip netip.Addr, ttl uint32) dns.RR {
	if ip.Is4() {
		return &dns.A{Hdr: header(owner, dns.TypeA, ttl), A: ip.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(owner, dns.TypeAAAA, ttl), AAAA: ip.AsSlice()}
}

// reverse answers in-addr.arpa and ip6.arpa with the names of the nodes and services with
// the address. Addresses outside the catalog go to the recursors, if there are any.
func (s *Server) reverse(q *question, ip netip.Addr) answer {
	m := q.message()
	ttl := seconds(q.st.NodeTTL) // of services' names too, as in Consul
	seen := map[string]bool{}
	if ip.IsValid() {
		for _, o := range s.catalog.Lookup(ip.String()) {
			target := q.st.nodeTarget(o.Node, q.zone)
			if i := o.Instance; i != nil {
				target = ""
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
	case reverseBeneath(strings.ToLower(q.name)):
		return q.empty()
	}
	return q.missing()
}
