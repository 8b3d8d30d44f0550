package dns

import (
	"bytes"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skerryhq/skerry"
)

// A name with names beneath it exists, though it is empty: NXDOMAIN means that there are
// no names beneath it either (RFC 8020), and a resolver that asks label by label (RFC 9156)
// stops.

// beneath reports whether there may be names beneath one that has no records.
func (s *Server) beneath(st *state, rest string, n name) bool {
	if st.holdsForms(rest) {
		return true
	}
	if n.dc != "" && n.dc != st.self.Datacenter {
		return false
	}
	switch n.form {
	case serviceForm: // a tag may contain dots
		return n.tag != "" && bytes.Contains(tagsOf(s.catalog.Service(n.name), st.tagsKey), []byte("."+n.tag+"\x00"))
	case nodeForm:
		return s.nodesBeneath(n.name)
	case queryForm:
		return s.queries != nil && s.queries.QueriesBeneath(n.name)
	}
	return false
}

// holdsForms reports whether a name is a parent of a form, like the zone itself, dc1 and
// service, or is between a form and a name as in RFC 2782, like _tcp.service.
func (st *state) holdsForms(rest string) bool {
	var buf [8]string
	labels := splitLabels(buf[:0], rest)
	cut := func(last string) bool {
		if n := len(labels); n > 0 && labels[n-1] == last {
			labels = labels[:n-1]
			return true
		}
		return false
	}
	below := cut("dc")
	if len(labels) > 0 && !cut(st.self.Datacenter) && below {
		return false // another datacenter
	}
	n := len(labels)
	if n > 0 && strings.HasPrefix(labels[0], "_") && len(labels[0]) > 1 {
		return n == 1 || n == 2 && (formOf(labels[1]) == serviceForm || formOf(labels[1]) == queryForm)
	}
	return n == 0 || n == 1 && formOf(labels[0]) != noForm
}

// nodeParents are the names that node names with dots lie beneath.
type nodeParents struct {
	index uint64
	until time.Time
	names map[string]bool
}

// parentsFor is how long they are kept while no node changes: the nodes that the caller may
// see change too.
const parentsFor = 10 * time.Second

// nodesBeneath reports whether a node's name ends with a dot and this one.
func (s *Server) nodesBeneath(name string) bool {
	// The index is read first, so the names are at least as new.
	index, _ := s.catalog.Watch(skerry.Topic{Kind: skerry.TopicNodes})
	p := s.parents.Load()
	if p == nil || p.index != index || time.Now().After(p.until) {
		p = &nodeParents{index: index, until: time.Now().Add(parentsFor), names: map[string]bool{}}
		for _, v := range s.catalog.Nodes() {
			for _, rest, ok := strings.Cut(skerry.Fold(v.Node.Name), "."); ok; _, rest, ok = strings.Cut(rest, ".") {
				p.names[rest] = true
			}
		}
		s.parents.Store(p)
	}
	return p.names[name]
}

// reverseBeneath reports whether a reverse name is incomplete: addresses lie beneath it.
func reverseBeneath(qname string) bool {
	if rest, ok := strings.CutSuffix(qname, arpa4); ok {
		return strings.Count(rest, ".") < 3
	}
	return strings.HasSuffix(qname, arpa6) && dns.CountLabel(qname) < 34
}
