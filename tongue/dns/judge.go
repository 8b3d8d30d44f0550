package dns

import (
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// peerOf returns the client's address without zone; IPv4 within IPv6 is IPv4.
func peerOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// trusted reports whether the client's address is not forged: the question came over
// TCP or from this host, or has a valid cookie of ours.
func (q *question) trusted() bool { return q.tcp || q.cookieValid || q.peer.IsLoopback() }

// admit reports whether the answer is sent in full. It is called before work that costs
// other servers something, such as asking recursors, else when the kind is known.
func (s *Server) admit(q *question, kind answerKind) bool {
	if q.verdict == unjudged {
		q.verdict = s.judge(q, kind)
	}
	return q.verdict == passed
}

// judge returns the verdict on an answer of this kind.
func (s *Server) judge(q *question, kind answerKind) verdict {
	return s.count(q, kind, q.st.RateLimit.Slip)
}

func (s *Server) count(q *question, kind answerKind, slip int) verdict {
	limit := &q.st.RateLimit
	if q.trusted() || limit.PerSecond < 0 || limit.exempts(q.peer) {
		return passed
	}
	table := s.rates.Load()
	if table == nil {
		s.rates.CompareAndSwap(nil, newRates())
		table = s.rates.Load()
	}
	v := table.take(rateKey(q.peer, kind), q.now, limit.PerSecond, slip)
	switch {
	case v == dropped:
		s.metrics.limitedDropped.Inc()
	case v == truncated && q.env.cookie != "":
		s.metrics.limitedCookie.Inc()
	case v == truncated:
		s.metrics.limitedTruncated.Inc()
	}
	if v != passed {
		s.tellLimited(q)
	}
	return v
}

// tellLimited logs that answers are limited, once a minute at most.
func (s *Server) tellLimited(q *question) {
	last := s.toldLimited.Load()
	if q.now-time.Duration(last) < time.Minute && last != 0 || !s.toldLimited.CompareAndSwap(last, int64(q.now)) {
		return
	}
	s.log.Warn("answers over UDP to a network are limited: it asks more than dns_config.rate_limit.responses_per_second, or someone asks in its name; if it is a forwarder of yours, name it in dns_config.rate_limit.exempt",
		"client", q.peer, "responses_per_second", q.st.RateLimit.PerSecond)
}

// kind returns the kind that the answer is counted as.
func (a answer) kind() answerKind {
	switch {
	case a.set != nil, a.msg.Rcode == dns.RcodeSuccess && len(a.msg.Answer) > 0:
		return kindAnswered
	case a.msg.Rcode == dns.RcodeSuccess, a.msg.Rcode == dns.RcodeNameError:
		return kindNothing
	}
	return kindFailed
}

// short reports whether the answer of again is only the question with TC, which needs no
// [dns.Msg].
func (q *question) short() bool {
	return q.env.cookie == "" && len(q.msg.Question) == 1 && q.msg.Opcode == dns.OpcodeQuery
}

// again returns the answer that makes a real client ask again: with the cookie in it, or
// by TCP. It is hardly longer than the question.
func (q *question) again() answer {
	m := q.message()
	m.Authoritative = q.zone != nil && !q.foreign
	if q.env.cookie != "" {
		m.Authoritative = false
		m.Rcode = dns.RcodeBadCookie
	} else {
		m.Truncated = true
	}
	return answer{msg: m}
}

// exempts reports whether the client's answers are not counted.
func (r *RateLimit) exempts(ip netip.Addr) bool {
	for _, p := range r.Exempt {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// unmapped returns a network of IPv4 within IPv6 as one of IPv4.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
