package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/miekg/dns"
)

// recursions returns the most questions that may wait for recursors at once.
func recursions(cfg Config) int {
	if cfg.MaxRecursions > 0 {
		return min(cfg.MaxRecursions, maxRecursions)
	}
	return maxRecursions
}

// maxRecursions is the upper bound of Config.MaxRecursions, and its default.
const maxRecursions = 1024

// recursion is the state of the recursors that requests and reloads share.
type recursion struct {
	slots   chan struct{}
	failing sync.Map // address → true while the last answer is missing, so that each outage is logged once
}

// forward passes a foreign question on as it is, over the client's transport.
func (s *Server) forward(q *question) answer {
	q.foreign = true
	if !s.admit(q, kindForeign) {
		return answer{}
	}
	network := "udp"
	if q.tcp {
		network = "tcp"
	}
	r, err := s.ask(q.ctx, q.st, onward(q.msg), network)
	if err != nil {
		return q.refuse(dns.RcodeServerFailure)
	}
	r.Id = q.msg.Id
	r.RecursionAvailable = true
	s.complete(q, r)
	return answer{msg: r}
}

// complete adds the records that a recursor's answer leads to and lacks, mostly of names
// in our zone, which the recursor may not know.
func (s *Server) complete(q *question, r *dns.Msg) {
	if r.Truncated || !tells(r) || q.typ == dns.TypeCNAME || q.typ == dns.TypeANY {
		return
	}
	more := s.walk(q, q.st.loose(r.Answer, q.name, q.typ, ends(r)), q.typ)
	if len(more) == 0 {
		return
	}
	r.Answer = append(r.Answer, more...)
	r.Ns, r.Rcode, r.AuthenticatedData = nil, dns.RcodeSuccess, false
}

// tells reports whether a recursor's answer is a valid one, also if the last name that it
// leads to does not exist.
func tells(r *dns.Msg) bool { return r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError }

// ends reports whether, by the answer, its last name has no record of the type.
func ends(r *dns.Msg) bool {
	return slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
}

// lookup asks the recursors for one type of one name and returns the answer
// section, over TCP if it does not fit otherwise. ended is as of ends.
func (s *Server) lookup(q *question, name string, qtype uint16) (found []dns.RR, ended bool) {
	msg := new(dns.Msg)
	msg.SetQuestion(name, qtype)
	msg.SetEdns0(1232, false)
	r, err := s.ask(q.ctx, q.st, msg, "udp")
	if err == nil && r.Truncated {
		r, err = s.ask(q.ctx, q.st, msg, "tcp")
	}
	if err != nil || !tells(r) {
		return nil, true
	}
	return r.Answer, ends(r)
}

// ask asks one recursor after another until one answers. An error or a refusal does not
// count as an answer, but the last one is passed on if no recursor answers.
func (s *Server) ask(ctx context.Context, st *state, msg *dns.Msg, network string) (*dns.Msg, error) {
	select {
	case s.recursion.slots <- struct{}{}:
		defer func() { <-s.recursion.slots }()
	default:
		s.metrics.recursorOverload.Inc()
		return nil, errors.New("too many questions wait for recursors")
	}
	order := make([]int, len(st.recursors))
	for i := range order {
		order[i] = i
	}
	if st.RecursorStrategy == Random {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	var last *dns.Msg
	err := errors.New("no recursor that does not lead back to us")
	for _, i := range order {
		address := st.recursors[i]
		if s.paths.loops(address) {
			continue
		}
		r, askErr := exchange(ctx, st, msg, network, address)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.note(address, askErr)
		if askErr != nil {
			err = askErr
			continue
		}
		if tells(r) {
			return r, nil
		}
		s.metrics.recursorFailures.WithLabelValues(address).Inc()
		last = r
	}
	if last != nil {
		return last, nil
	}
	return nil, err
}

// note counts a failure and logs the first and the last of an outage.
func (s *Server) note(address string, err error) {
	if err == nil {
		if _, was := s.recursion.failing.LoadAndDelete(address); was {
			s.log.Info("recursor answers again", "recursor", address)
		}
		return
	}
	s.metrics.recursorFailures.WithLabelValues(address).Inc()
	if _, was := s.recursion.failing.LoadOrStore(address, true); !was {
		s.log.Warn("recursor does not answer", "recursor", address, "error", err)
	}
}

// exchange asks one recursor, with an id of its own, until ctx ends.
func exchange(ctx context.Context, st *state, msg *dns.Msg, network, address string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, st.RecursorTimeout)
	defer cancel()
	client := &dns.Client{Net: network, Timeout: st.RecursorTimeout}
	conn, err := client.DialContext(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	out := *msg
	out.Id = dns.Id()
	r, _, err := client.ExchangeWithConnContext(ctx, &out, conn)
	if err != nil {
		return nil, err
	}
	if !r.Response || len(r.Question) != 1 || !sameQuestion(r.Question[0], msg.Question[0]) {
		return nil, fmt.Errorf("recursor %s answered another question", address)
	}
	return r, nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name)
}
