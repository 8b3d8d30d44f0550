package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// elsewhereWithin bounds the wait for a server that answers in place of this process. Stub resolvers
// ask again after 5 s.
const elsewhereWithin = 3 * time.Second

// remote has a server answer a question of our zones.
func (s *Server) remote(q *question) answer {
	ask := q.msg.Copy()
	ask.Extra = nil // the size and the cookie are between this process and its client
	query, err := ask.Pack()
	if err != nil {
		return q.refuse(dns.RcodeFormatError)
	}
	ctx, cancel := context.WithTimeout(q.ctx, elsewhereWithin)
	defer cancel()
	packed, err := s.elsewhere(ctx, query)
	var m dns.Msg
	if err == nil {
		err = m.Unpack(packed)
	}
	if err != nil {
		return q.refuse(dns.RcodeServerFailure)
	}
	m.Id = q.msg.Id
	return answer{msg: &m}
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
