package dns

import (
	"bytes"
	"math"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// kindOf finds the prepared form that answers a question about a service. TXT is
// answered like ANY, as Consul does.
func kindOf(qtype uint16) (kind, bool) {
	switch qtype {
	case dns.TypeA:
		return kindA, true
	case dns.TypeAAAA:
		return kindAAAA, true
	case dns.TypeANY, dns.TypeTXT:
		return kindAny, true
	case dns.TypeSRV:
		return kindSRV, true
	case dns.TypeCNAME:
		return kindCNAME, true
	}
	return 0, false
}

// service answers a question about a service: with a prepared set, or with a message
// without an answer.
func (s *Server) service(q *question, n name) answer {
	view, _, err := s.discovery.Service(q.ctx, n.name)
	if err != nil {
		return q.refuse(dns.RcodeServerFailure)
	}
	ans := s.serviceIn(q, n, view)
	if ans.set != nil && len(q.st.ServiceTTL) > 0 && s.readers != nil {
		if ttl := q.st.serviceTTL(view.Service); ttl > 0 {
			s.readers.Resolved(view.Service, time.Duration(ttl)*time.Second)
		}
	}
	return ans
}

// serviceIn is service for a view of it.
func (s *Server) serviceIn(q *question, n name, view *skerry.View) answer {
	if len(view.Entries) == 0 || n.tag != "" && !hasTag(view, q.st.tagsKey, n.tag) {
		return q.missing()
	}
	k, ok := kindOf(q.typ)
	if !ok {
		k = kindAny // only to see whether the query selects an instance
	}
	render := func() []byte { return q.st.render(view, q.zone, k, n.tag) }
	var set set
	if n.tag == "" {
		set = view.Memo(q.zone.keys[k], render)
	} else {
		set = view.MemoChosen(skerry.MemoKey(q.zone.keys[k], n.tag), render)
	}
	switch {
	case set.selected() == 0:
		return q.missing()
	case !ok || set.count() == 0:
		return q.empty()
	}
	return answer{set: set}
}

// envelope returns the envelope of a question of type qtype.
func (st *state) envelope(client net.Addr, opt *dns.OPT, qtype uint16, tcp bool) envelope {
	env := envelope{client: client, opt: opt, limit: dns.MinMsgSize, count: math.MaxInt, policy: math.MaxInt}
	if opt != nil {
		env.limit = max(env.limit, min(int(opt.UDPSize()), maxDatagram))
	}
	if tcp {
		env.limit = dns.MaxMsgSize
	}
	if !tcp && env.limit <= dns.MinMsgSize {
		env.count = st.UDPAnswerLimit
	}
	if st.ARecordLimit > 0 && qtype != dns.TypeSRV {
		env.policy = st.ARecordLimit
	}
	return env
}

// bound keeps the answer below udp_max, whatever the client takes.
func (e *envelope) bound(most int) {
	if e.limit > most {
		e.limit, e.bounded = most, true
	}
}

// hasTag looks the tag up in the view's list of tags, so that made-up tags cost no
// rendering.
func hasTag(v *skerry.View, key, tag string) bool {
	return !strings.Contains(tag, "\x00") && bytes.Contains(tagsOf(v, key), []byte("\x00"+tag+"\x00"))
}

func tagsOf(v *skerry.View, key string) []byte {
	return v.Memo(key, func() []byte { return tagList(v) })
}

// tagList returns all tags of a service in lower case, each once, between zero bytes.
func tagList(v *skerry.View) []byte {
	seen := map[string]bool{}
	out := []byte{0}
	for _, e := range v.Entries {
		for _, t := range e.Instance.Tags {
			if t = strings.ToLower(t); !seen[t] {
				seen[t] = true
				out = append(append(out, t...), 0)
			}
		}
	}
	return out
}
