package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// question is one question while it is answered.
type question struct {
	ctx   context.Context
	st    *state
	zone  *zone // nil: not ours
	msg   *dns.Msg
	name  string // as asked
	typ   uint16
	env   envelope
	tcp   bool
	chain chain // the names that led here
	// foreign is whether the answer is a recursor's, whose TC flag is passed on.
	foreign bool

	peer        netip.Addr    // the client
	now         time.Duration // since the server was made
	verdict     verdict
	cookieValid bool // the question has a valid cookie of ours
	badCookie   bool // it has one of a wrong length
}

// answer is a prepared set or a message; one of them is set.
type answer struct {
	set set
	msg *dns.Msg
}

// handler is the server during one call of Serve.
type handler struct {
	*Server
	ctx context.Context
}

// ServeDNS implements [dns.Handler].
func (h handler) ServeDNS(w dns.ResponseWriter, msg *dns.Msg) {
	start := time.Now()
	defer h.net.Catch(rescue.DNS, func() {
		h.metrics.observe(questionType(msg), dns.RcodeServerFailure, time.Since(start))
		if m := new(dns.Msg).SetRcode(msg, dns.RcodeServerFailure); w.WriteMsg(m) != nil {
			w.Close()
		}
	})
	typ, rcode := h.serve(w, msg, start)
	h.metrics.observe(typ, rcode, time.Since(start))
}

// questionType is the type of the only question of a message, else 0.
func questionType(msg *dns.Msg) uint16 {
	if len(msg.Question) != 1 {
		return 0
	}
	return msg.Question[0].Qtype
}

// serve answers one message and returns the type and the rcode for the metrics.
func (h handler) serve(w dns.ResponseWriter, msg *dns.Msg, now time.Time) (typ uint16, rcode int) {
	q := &question{ctx: h.ctx, st: h.state.Load(), msg: msg, now: now.Sub(h.epoch)}
	client := w.RemoteAddr()
	_, q.tcp = client.(*net.TCPAddr)
	q.peer = peerOf(client)
	if len(msg.Question) == 1 {
		q.name, q.typ = msg.Question[0].Name, msg.Question[0].Qtype
	}
	opt := msg.IsEdns0()
	q.env = q.st.envelope(client, opt, q.typ, q.tcp)
	if opt != nil && len(opt.Option) > 0 {
		h.takeCookie(q, opt, now)
	}
	if !q.trusted() {
		q.env.bound(q.st.UDPMax)
	}

	ans := h.answer(q)
	if q.verdict == unjudged {
		h.admit(q, ans.kind())
	}
	switch {
	case q.verdict == dropped:
		return q.typ, rcodeDropped
	case q.verdict == truncated && q.short():
		return h.askAgain(w, q)
	case q.verdict == truncated:
		ans = q.again()
	}
	if ans.set == nil {
		h.reply(w, q, ans.msg)
		return q.typ, ans.msg.Rcode
	}
	a := assemblers.Get().(*assembler)
	defer assemblers.Put(a)
	if q.env.cookie != "" {
		q.env.reserve()
	}
	packed, ok := a.message(q.st, msg, ans.set, &q.env)
	if !ok {
		return q.typ, dns.RcodeFormatError // not reached: the name was packed in the question
	}
	if packed[2]&2 != 0 {
		h.metrics.truncated.Inc()
	}
	h.write(w, packed)
	return q.typ, dns.RcodeSuccess
}

// askAgain answers with the question and TC alone.
func (h handler) askAgain(w dns.ResponseWriter, q *question) (typ uint16, rcode int) {
	a := assemblers.Get().(*assembler)
	defer assemblers.Put(a)
	packed, ok := a.again(q)
	if !ok {
		return q.typ, dns.RcodeFormatError // as above
	}
	h.metrics.truncated.Inc()
	h.write(w, packed)
	return q.typ, dns.RcodeSuccess
}

// answer finds the answer to a question.
func (s *Server) answer(q *question) answer {
	switch {
	case q.msg.Opcode != dns.OpcodeQuery:
		return q.refuse(dns.RcodeNotImplemented)
	case len(q.msg.Question) == 0 && q.env.cookie != "":
		return q.refuse(dns.RcodeSuccess) // it asks for a cookie alone (RFC 7873, 5.4)
	case len(q.msg.Question) != 1, q.badCookie:
		return q.refuse(dns.RcodeFormatError)
	}
	if opt := q.msg.IsEdns0(); opt != nil && opt.Version() != 0 {
		return q.refuse(dns.RcodeBadVers)
	}
	if q.msg.Question[0].Qclass != dns.ClassINET || q.typ == dns.TypeAXFR || q.typ == dns.TypeIXFR {
		return q.refuse(dns.RcodeRefused)
	}
	lower := strings.ToLower(q.name)
	var rest string
	if q.zone, rest = q.st.zoneOf(lower); q.zone != nil {
		return s.zoned(q, rest)
	}
	if ip, ok := reverseName(lower); ok {
		if s.elsewhere != nil {
			ans, _ := s.remote(q)
			return ans
		}
		_ = skerry.Settle(q.ctx, s.settled) // at the end of the server all is answered
		q.zone = q.st.primary
		return s.reverse(q, ip)
	}
	if s.returned(lower) {
		return q.refuse(dns.RcodeNameError)
	}
	if len(q.st.recursors) == 0 {
		return q.refuse(dns.RcodeRefused)
	}
	return s.forward(q)
}

// ours answers a question about a name in the zone.
func (s *Server) ours(q *question, rest string) answer {
	switch q.typ {
	case dns.TypeSOA, dns.TypeNS:
		return s.apex(q)
	}
	n := parseName(rest)
	ans := s.named(q, n)
	if ans.msg != nil && ans.msg.Rcode == dns.RcodeNameError && s.beneath(q.st, rest, n) {
		return q.empty()
	}
	return ans
}

// named answers a question about a parsed name.
func (s *Server) named(q *question, n name) answer {
	if n.dc != "" && n.dc != q.st.self.Datacenter && n.form != addrForm { // such a name has its address
		return s.far(q, n)
	}
	switch n.form {
	case serviceForm:
		return s.chased(q, s.service(q, n))
	case nodeForm:
		return s.node(q, n.name)
	case addrForm:
		return s.address(q, n.name)
	case virtualForm:
		// There are no virtual addresses without a mesh, but the name exists.
		if len(s.catalog.Service(n.name).Entries) > 0 {
			return answer{msg: q.message()}
		}
	case queryForm:
		return s.query(q, n)
	}
	return q.missing()
}

// message starts the answer to q.
func (q *question) message() *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q.msg)
	m.Authoritative = true
	m.RecursionAvailable = len(q.st.recursors) > 0
	return m
}

// missing answers that the name does not exist.
func (q *question) missing() answer {
	m := q.message()
	m.Rcode = dns.RcodeNameError
	m.Ns = []dns.RR{q.zone.soa(q.st)}
	return answer{msg: m}
}

// empty answers that the name exists, but has no record of this type.
func (q *question) empty() answer {
	m := q.message()
	m.Ns = []dns.RR{q.zone.soa(q.st)}
	return answer{msg: m}
}

// refuse answers with an error and without authority.
func (q *question) refuse(rcode int) answer {
	m := q.message()
	m.Authoritative = false
	m.Rcode = rcode
	return answer{msg: m}
}
