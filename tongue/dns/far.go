package dns

import (
	"context"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// Datacenters are the other datacenters.
type Datacenters interface {
	// In returns the services of another datacenter, as this process follows them; nil: it follows none there.
	In(name string) skerry.Elsewhere
	// AskDNS has a server of another datacenter answer a question, both as on the wire. The error is of kind NotFound if the
	// datacenter is not known.
	AskDNS(ctx context.Context, name string, query []byte) ([]byte, error)
}

// far answers a question about a name in another datacenter: from a service that this process follows there, or as a server
// there answers.
func (s *Server) far(q *question, n name) answer {
	if s.datacenters == nil {
		return q.missing()
	}
	if there := s.datacenters.In(n.dc); there != nil && n.form == serviceForm {
		if view, _, err := there.Service(q.ctx, n.name); err == nil {
			return s.chased(q, s.serviceIn(q, n, view))
		}
	}
	unknown := false
	ans, _ := s.askOther(q, func(ctx context.Context, query []byte) ([]byte, error) {
		out, err := s.datacenters.AskDNS(ctx, n.dc, query)
		unknown = skerry.KindOf(err) == skerry.NotFound
		return out, err
	})
	if unknown {
		return q.missing()
	}
	if ans.msg != nil && ans.msg.Rcode == dns.RcodeSuccess {
		ans.msg.RecursionAvailable = len(q.st.recursors) > 0
	}
	return ans
}

// chased follows host names in an answer.
func (s *Server) chased(q *question, ans answer) answer {
	if ans.set != nil && ans.set.hosts() {
		return s.chase(q, ans.set)
	}
	return ans
}
