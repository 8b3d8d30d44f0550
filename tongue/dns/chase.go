package dns

import (
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry/rescue"
)

// maxChased is the number of host names of one SRV answer that are resolved.
const maxChased = 16

// chase answers with a set that leads to host names, and with the records of these.
func (s *Server) chase(q *question, set set) answer {
	if !s.admit(q, kindAnswered) {
		return answer{}
	}
	m := q.message()
	if q.typ != dns.TypeSRV {
		// A name has one CNAME at most.
		rr, ok := q.record(set, rand.IntN(set.count()))
		if !ok {
			return q.refuse(dns.RcodeServerFailure)
		}
		m.Answer = []dns.RR{rr}
		if cname, ok := rr.(*dns.CNAME); ok {
			m.Answer = append(m.Answer, s.follow(q, cname.Target)...)
		}
		return answer{msg: m}
	}
	return s.chaseSRV(q, m, set)
}

// record unpacks one answer record.
func (q *question) record(s set, i int) (dns.RR, bool) {
	wire := append([]byte{0}, s.answer(s.unit(i))[2:]...) // a root owner instead of the pointer
	rr, _, err := dns.UnpackRR(wire, 0)
	if err != nil {
		return nil, false
	}
	rr.Header().Name = q.name
	return rr, true
}

// chaseSRV makes a SRV answer with the addresses of host names in it. It asks for all
// at once, so that it takes no longer than the slowest.
func (s *Server) chaseSRV(q *question, m *dns.Msg, set set) answer {
	a := assemblers.Get().(*assembler)
	defer assemblers.Put(a)
	env := q.env
	env.opt = nil // reply adds it
	packed, ok := a.message(q.st, q.msg, set, &env)
	if !ok || m.Unpack(packed) != nil {
		return q.refuse(dns.RcodeServerFailure)
	}
	var hosts []string
	seen := map[string]bool{}
	for _, rr := range m.Extra {
		seen[rr.Header().Name] = true
	}
	for _, rr := range m.Answer {
		if srv, ok := rr.(*dns.SRV); ok && !seen[srv.Target] && len(hosts) < maxChased {
			seen[srv.Target] = true
			hosts = append(hosts, srv.Target)
		}
	}
	found := make([][]dns.RR, len(hosts))
	var wg sync.WaitGroup
	for i, host := range hosts {
		wg.Go(func() {
			defer s.net.Catch(rescue.DNS, nil)
			found[i] = s.resolve(q, host, dns.TypeA, dns.TypeAAAA)
		})
	}
	wg.Wait()
	for _, rrs := range found {
		m.Extra = append(m.Extra, rrs...)
	}
	return answer{msg: m}
}

// follow resolves a CNAME's target for the type that was asked for; ANY means
// addresses of both families.
func (s *Server) follow(q *question, host string) []dns.RR {
	switch {
	case q.typ == dns.TypeA || q.typ == dns.TypeAAAA:
		return s.resolve(q, host, q.typ)
	case q.typ == dns.TypeANY:
		return s.resolve(q, host, dns.TypeA, dns.TypeAAAA)
	}
	return nil
}

// resolve finds the records of a host name: in our own zone, else at the
// recursors. Names that cannot be resolved have none.
func (s *Server) resolve(q *question, host string, qtypes ...uint16) (out []dns.RR) {
	seen := map[string]bool{} // both types have the chain's CNAMEs
	for _, t := range qtypes {
		for _, rr := range s.walk(q, host, t) {
			if text := rr.String(); !seen[text] {
				seen[text] = true
				out = append(out, rr)
			}
		}
	}
	return out
}

// maxChain bounds the names that one question leads to.
const maxChain = 8

// chain is the names that one question has led to, in canonical form: each is asked once.
type chain map[string]bool

// joins adds a name to the chain. It reports false if the name is in it or it is full.
func (c chain) joins(name string) bool {
	name = dns.CanonicalName(name)
	if c[name] || len(c) > maxChain {
		return false
	}
	c[name] = true
	return true
}

// walk follows a host name to the end of its CNAMEs, at the recursors and in our own zone
// in turn. A recursor that does not know our zone stops where a name leads into it.
func (s *Server) walk(q *question, host string, qtype uint16) (out []dns.RR) {
	c := q.chain
	if c == nil {
		c = chain{}
		c.joins(q.name)
	}
	for host != "" && c.joins(host) {
		var rrs []dns.RR
		ended := false
		if z, rest := q.st.zoneOf(strings.ToLower(host)); z != nil {
			rrs = s.inside(q, c, z, rest, host, qtype)
		} else if len(q.st.recursors) > 0 {
			rrs, ended = s.lookup(q, host, qtype)
		}
		out = append(out, rrs...)
		host = q.st.loose(rrs, host, qtype, ended)
	}
	return out
}

// loose returns the name at which the CNAMEs of an answer end without a record of the
// requested type. It returns "" if there is one, or if no more can be asked: ended means
// that the last name has none according to the answer, which holds outside our zone.
func (st *state) loose(rrs []dns.RR, host string, qtype uint16, ended bool) string {
	at := host
	for range rrs {
		next := ""
		for _, rr := range rrs {
			if !strings.EqualFold(rr.Header().Name, at) {
				continue
			}
			if rr.Header().Rrtype == qtype {
				return ""
			}
			if cname, ok := rr.(*dns.CNAME); ok {
				next = cname.Target
			}
		}
		if next == "" {
			break
		}
		at = next
	}
	if at == host {
		return ""
	}
	if z, _ := st.zoneOf(strings.ToLower(at)); z == nil && ended {
		return ""
	}
	return at
}

// inside answers a question that a CNAME asks of our own zone.
func (s *Server) inside(q *question, c chain, z *zone, rest, host string, qtype uint16) []dns.RR {
	msg := new(dns.Msg)
	msg.SetQuestion(host, qtype)
	sub := &question{ctx: q.ctx, st: q.st, zone: z, msg: msg, name: host, typ: qtype, tcp: true, chain: c}
	sub.env = q.st.envelope(q.env.client, nil, qtype, true)
	ans := s.zoned(sub, rest)
	if ans.msg != nil {
		return ans.msg.Answer
	}
	a := assemblers.Get().(*assembler)
	defer assemblers.Put(a)
	var out dns.Msg
	packed, ok := a.message(q.st, msg, ans.set, &sub.env)
	if !ok || out.Unpack(packed) != nil {
		return nil
	}
	return out.Answer
}
