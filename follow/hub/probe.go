package hub

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// Probe counts the followers of a service, and their readers, since a change of it.
type Probe struct {
	s       *Server
	id      string
	service string

	mu     sync.Mutex
	counts map[*session]*follow.Count // nil: the follower has not got the change yet
	acked  int                        // followers that have it
	gone   int                        // those that left
}

// lostFollower is a follower whose stream ended lately: its agent may answer from an old view.
type lostFollower struct {
	at       time.Time
	services map[string]*want
}

// lostWithin is for how long a follower whose stream ended counts as one that may have an old view.
const lostWithin = 30 * time.Second

// Probe begins to count the followers of a service, those of a node left out. The change is in the views of this
// process. The caller ends it.
func (s *Server) Probe(id, service, except string) *Probe {
	p := &Probe{s: s, id: id, service: skerry.Fold(service), counts: map[*session]*follow.Count{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probes[id] = p
	for f := range s.sessions {
		if f.node != except && f.follows(p.service) {
			p.counts[f] = nil
			f.sub.send(errand{p.service, p.tell})
		}
	}
	return p
}

// End ends the count.
func (p *Probe) End() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	delete(p.s.probes, p.id)
}

// Now returns the present count, with the nodes whose agents may still have the old view, and those among them whose
// streams ended.
func (p *Probe) Now() (sum follow.Count, waiting, lost []string) {
	p.mu.Lock()
	sum.Acked, sum.Gone = p.acked, p.gone
	for f, c := range p.counts {
		if c == nil {
			waiting = append(waiting, f.node)
			continue
		}
		sum.Acked, sum.Pending, sum.Gone = sum.Acked+c.Acked, sum.Pending+c.Pending, sum.Gone+c.Gone
		sum.Resolving = max(sum.Resolving, c.Resolving)
	}
	p.mu.Unlock()
	slices.Sort(waiting)
	return sum, waiting, p.s.lostOf(p.service)
}

// Has returns the nodes among some whose agents follow here.
func (s *Server) Has(nodes []string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.sessions {
		if slices.Contains(nodes, f.node) {
			out = append(out, f.node)
		}
	}
	return out
}

func (s *Server) lostOf(service string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, l := range s.lost {
		if l.services[service] != nil && time.Since(l.at) < lostWithin {
			out = append(out, node)
		}
	}
	slices.Sort(out)
	return out
}

// enter notes a follower.
func (s *Server) enter(f *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[f] = struct{}{}
	delete(s.lost, f.node) // its view is brought up to date here
}

// leave notes that a follower's stream ended.
func (s *Server) leave(f *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, f)
	for _, p := range s.probes {
		p.left(f)
	}
	maps.DeleteFunc(s.lost, func(_ string, l lostFollower) bool { return time.Since(l.at) > lostWithin })
	for other := range s.sessions {
		if other.node == f.node {
			return // it has a newer stream
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.wants {
		w.last = nil
	}
	s.lost[f.node] = lostFollower{time.Now(), f.wants}
}

func (p *Probe) left(f *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, counted := p.counts[f]; counted {
		delete(p.counts, f)
		p.gone++
	}
}

// counted takes the counts of a follower.
func (s *Server) counted(f *session, counts []follow.Count) {
	for _, c := range counts {
		s.mu.Lock()
		p := s.probes[c.ID]
		s.mu.Unlock()
		if p != nil {
			p.take(f, c)
		}
	}
}

func (p *Probe) take(f *session, c follow.Count) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, asked := p.counts[f]
	if !asked {
		return
	}
	if was == nil {
		p.acked++
	}
	p.counts[f] = &c
}

func (f *session) follows(service string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wants[service] != nil
}

// tell is the question to a follower that has the change.
func (p *Probe) tell() follow.Tell {
	return follow.Tell{Probe: &follow.Probe{ID: p.id, Service: p.service}}
}
