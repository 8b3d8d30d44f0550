package dns

import (
	"errors"
	"net"
	"sort"

	"github.com/miekg/dns"
)

// maxDatagram is the most that fits into a UDP datagram over IPv4.
const maxDatagram = 65507

// reply sends an answer that is a message.
func (s *Server) reply(w dns.ResponseWriter, q *question, m *dns.Msg) {
	m.Compress = !q.st.DisableCompression
	refused := m.Rcode == dns.RcodeRefused // Consul refuses without an OPT record
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = withoutCookies(opt.Option) // a recursor's is not for the client
		if q.env.cookie != "" {
			opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: q.env.cookie})
		}
	} else if q.env.opt != nil && (!refused || q.env.cookie != "") {
		m.Extra = append(m.Extra, replyOPT(&q.env))
	}
	q.fit(m)
	if m.Truncated {
		s.metrics.truncated.Inc()
	}
	packed, err := m.Pack()
	if err != nil {
		// Not reached with checked names; no reply at all would be worse.
		s.log.Error("packing an answer failed", "name", q.name, "type", dns.TypeToString[q.typ], "error", err)
		packed, err = q.refuse(dns.RcodeServerFailure).msg.Pack()
		if err != nil {
			return
		}
	}
	s.write(w, packed)
}

// fit cuts m down to the size that the client takes: first the additional records, then
// answers from the end.
func (q *question) fit(m *dns.Msg) {
	if m.Len() <= q.env.limit {
		return
	}
	extra := m.Extra
	var opt []dns.RR
	if o := m.IsEdns0(); o != nil {
		opt = []dns.RR{o}
		extra = withoutOPT(extra)
	}
	fits := func(answers, extras int) bool {
		cut := *m
		cut.Answer, cut.Extra = m.Answer[:answers], append(extra[:extras:extras], opt...)
		return cut.Len() <= q.env.limit
	}
	// The most that fits is one less than the least that does not.
	extras := sort.Search(len(extra), func(i int) bool { return !fits(len(m.Answer), i+1) })
	all := len(m.Answer)
	if !fits(all, extras) {
		extras = 0
		if q.env.cookie == "" {
			opt = nil
		}
		all = sort.Search(all, func(i int) bool { return !fits(i+1, 0) })
	}
	if all < len(m.Answer) && (q.st.EnableTruncate || q.env.bounded || all == 0 || q.foreign) {
		m.Truncated = true
	}
	m.Answer, m.Extra = m.Answer[:all], append(extra[:extras:extras], opt...)
}

func withoutOPT(rrs []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, rr)
		}
	}
	return out
}

// write sends a packed answer. A disconnected client is no error.
func (s *Server) write(w dns.ResponseWriter, packed []byte) {
	if _, err := w.Write(packed); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("sending an answer failed", "client", w.RemoteAddr(), "error", err)
	}
}
