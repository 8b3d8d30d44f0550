package dns

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// Queries executes prepared queries.
type Queries interface {
	// ExecuteQuery takes an ID or a name; the error is of kind NotFound if no query
	// answers for it.
	ExecuteQuery(nameOrID string, ask skerry.QueryAsk) (*skerry.QueryResult, error)
	// QueriesBeneath reports whether a query's name ends with a dot and this one, which
	// is in lower case.
	QueriesBeneath(name string) bool
}

// query answers a question about a prepared query. Its set is made for this answer
// alone: its contents depend on the client.
func (s *Server) query(q *question, n name) answer {
	if s.queries == nil || n.tag != "" {
		return q.missing()
	}
	r, err := s.queries.ExecuteQuery(n.name, skerry.QueryAsk{Agent: q.st.self.Name, Source: q.source()})
	if err != nil {
		if skerry.KindOf(err) != skerry.NotFound {
			s.log.Error("a prepared query failed", "query", n.name, "error", err)
			return q.refuse(dns.RcodeServerFailure)
		}
		return q.missing()
	}
	if len(r.Entries) == 0 {
		return q.missing()
	}
	k, ok := kindOf(q.typ)
	if !ok {
		return q.empty()
	}
	ttl := q.st.serviceTTL(r.View.Service)
	if r.HasTTL {
		ttl = seconds(r.TTL)
	}
	set := set(q.st.renderEntries(r.Entries, q.zone, k, ttl))
	if set.count() == 0 {
		return q.empty()
	}
	if r.Nearest {
		set.keepOrder()
	}
	if set.hosts() {
		return s.chase(q, set)
	}
	return answer{set: set}
}

// source returns the origin of the question: the client subnet that a resolver passes
// on, else the peer.
func (q *question) source() netip.Addr {
	if q.env.opt != nil {
		for _, o := range q.env.opt.Option {
			if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
				ip, _ := netip.AddrFromSlice(subnet.Address)
				return ip.Unmap()
			}
		}
	}
	var ip net.IP
	switch a := q.env.client.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.TCPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
