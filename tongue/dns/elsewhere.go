package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// elsewhereWithin bounds the wait for a server that answers in place of this process. Stub resolvers
// ask again after 5 s.
const elsewhereWithin = 3 * time.Second

// zoned answers a question about a name in one of our zones. A process that follows some services alone has a server
// answer all else.
func (s *Server) zoned(q *question, rest string) answer {
	if s.elsewhere == nil {
		_ = skerry.Settle(q.ctx, s.settled) // at the end of the server all is answered
		return s.ours(q, rest)
	}
	known, full := s.follows(q, rest)
	if full {
		return s.ours(q, rest)
	}
	ans, ok := s.remote(q)
	if !ok && known {
		return s.ours(q, rest)
	}
	return ans
}

// follows reports whether a question is about a service that this process follows, and whether it has instances.
func (s *Server) follows(q *question, rest string) (known, full bool) {
	if s.followed == nil || q.typ == dns.TypeSOA || q.typ == dns.TypeNS {
		return false, false
	}
	n := parseName(rest)
	if n.form != serviceForm || n.dc != "" && n.dc != q.st.self.Datacenter {
		return false, false
	}
	v, _, err := s.followed.Service(q.ctx, n.name)
	return err == nil, err == nil && len(v.Entries) > 0
}

// remote has a server answer a question of our zones. ok is false if none did.
func (s *Server) remote(q *question) (ans answer, ok bool) { return s.askOther(q, s.elsewhere) }

// askOther has another process answer a question. ok is false if it did not.
func (s *Server) askOther(q *question, other func(context.Context, []byte) ([]byte, error)) (ans answer, ok bool) {
	ask := q.msg.Copy()
	ask.Extra = nil // the size and the cookie are between this process and its client
	query, err := ask.Pack()
	if err != nil {
		return q.refuse(dns.RcodeFormatError), true
	}
	ctx, cancel := context.WithTimeout(q.ctx, elsewhereWithin)
	defer cancel()
	packed, err := other(ctx, query)
	var m dns.Msg
	if err == nil {
		err = m.Unpack(packed)
	}
	if err != nil {
		return q.refuse(dns.RcodeServerFailure), false
	}
	m.Id = q.msg.Id
	return answer{msg: &m}, true
}

// loopback is the client of questions that another process asks for its own client: it has bounded that one.
var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}

// Answer answers a question that another process passes on, both as on the wire.
func (s *Server) Answer(ctx context.Context, query []byte) ([]byte, error) {
	msg := new(dns.Msg)
	if err := msg.Unpack(query); err != nil {
		return nil, fmt.Errorf("a question in DNS's form is wanted: %w", err)
	}
	q := &question{ctx: ctx, st: s.state.Load(), msg: msg, now: time.Since(s.epoch), tcp: true, peer: peerOf(loopback)}
	if len(msg.Question) == 1 {
		q.name, q.typ = msg.Question[0].Name, msg.Question[0].Qtype
	}
	q.env = q.st.envelope(loopback, nil, q.typ, true)
	ans := s.answer(q)
	switch {
	case ans.set != nil:
		a := assemblers.Get().(*assembler)
		defer assemblers.Put(a)
		packed, ok := a.message(q.st, msg, ans.set, &q.env)
		if !ok {
			return nil, fmt.Errorf("the name %q cannot be packed", q.name)
		}
		return slices.Clone(packed), nil
	case ans.msg == nil:
		return nil, fmt.Errorf("the question about %q is not answered", q.name)
	}
	return ans.msg.Pack()
}
