package registry

import (
	"errors"
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
)

// Speaker takes what the agent of a node says over one stream. Its methods must not be called at once.
type Speaker struct {
	r      *Registry
	id     skerry.OwnerID
	node   string
	judged *judged // nil: access is not controlled
}

// Speaker returns one for the owner of a node.
func (r *Registry) Speaker(id skerry.OwnerID, node string) *Speaker {
	s := &Speaker{r: r, id: id, node: node}
	if r.cfg.Judge != nil {
		s.judged = newJudged(r.cfg.Judge, node)
	}
	return s
}

// Hear takes a frame and returns the frame that answers it; nil if there is nothing to answer. It is an error if
// the frame is about another owner or node: a process speaks for its own agent alone.
func (s *Speaker) Hear(data []byte) ([]byte, error) {
	m, err := decode(data)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.own(m), s.bounded(m)); err != nil {
		return nil, err
	}
	var answer cluster.Message
	switch m := m.(type) {
	case cluster.Attach:
		answer, err = s.attach(m)
	case cluster.Announce:
		answer, err = s.announce(m)
	case cluster.Beat:
		answer, err = s.beat(m)
	default: // of a later release
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return frame.Encode(answer)
}

// own returns an error unless a message is about the speaker's own owner and node.
func (s *Speaker) own(m cluster.Message) error {
	of, kind, node := s.id, skerry.AgentOwner, (*skerry.Node)(nil)
	switch m := m.(type) {
	case cluster.Attach:
		of, kind = m.Owner, m.Kind
	case cluster.Announce:
		of, kind = m.Owner, m.Kind
		switch {
		case m.Set != nil:
			node = m.Set.Node
		case m.Delta != nil:
			node = m.Delta.Node
		}
	case cluster.Beat:
		of = m.Owner
	}
	switch {
	case of != s.id:
		return skerry.Errorf(skerry.Denied, "a process that speaks for %s spoke for %s", s.id, of)
	case kind != skerry.AgentOwner:
		return skerry.Errorf(skerry.Denied, "a process that speaks for the agent %s called it a %s", s.id, kind)
	case node != nil && node.Name != s.node:
		return skerry.Errorf(skerry.Denied, "the agent of the node %q announced the node %q", s.node, node.Name)
	}
	return nil
}

// spareRecords are those that an agent has beside the ones that programs registered: its own, and maintenance.
const spareRecords = 1000

// bounded returns an error if an announcement has more records than an agent may have.
func (s *Speaker) bounded(m cluster.Message) error {
	a, is := m.(cluster.Announce)
	if !is {
		return nil
	}
	n := 0
	switch {
	case a.Set != nil:
		n = len(a.Set.Instances) + len(a.Set.Checks)
	case a.Delta != nil:
		// Those of a change may be there already: only the ones of before are counted with it.
		n = max(s.r.cfg.Table.Size(s.id), len(a.Delta.Instances)+len(a.Delta.Checks))
	}
	if most := skerry.MaxRecords + spareRecords; n > most {
		return skerry.Errorf(skerry.Exhausted, "the agent of the node %q announced %d instances and checks: at most %d are allowed", s.node, n, most)
	}
	return nil
}

func (s *Speaker) attach(m cluster.Attach) (cluster.Message, error) {
	if m.TTL <= 0 {
		return nil, skerry.Errorf(skerry.Invalid, "%s: the TTL is %v", m.Owner, m.TTL)
	}
	if s.judged != nil {
		why := s.judged.attach(m.Grants, s.r.cfg.Now())
		s.r.tellBarred(s.node, why)
		if why != nil {
			return cluster.Attached{Owner: m.Owner, Attach: m.Attach, Refused: why.Error()}, nil
		}
	}
	m.Grants = nil
	answer, err := s.r.hear(m)
	if a, is := answer.(cluster.Attached); is && a.OK && s.judged != nil {
		a.Want = true // the services are judged by the whole set
		return a, nil
	}
	return answer, err
}

func (s *Speaker) announce(m cluster.Announce) (cluster.Message, error) {
	m.Stand, m.Ended = cluster.Stand{}, 0
	j, grants := s.judged, m.Grants
	m.Grants = nil
	switch {
	case j == nil:
		return s.r.hear(m)
	case j.barred != nil:
		return cluster.Told{Owner: m.Owner}, nil
	case m.Gone:
		return s.r.hear(m)
	case m.Set != nil:
		m.Set = j.whole(m.Set, grants)
	case m.Delta != nil:
		delta, ok := j.delta(m.Delta, grants)
		if !ok {
			return cluster.Told{Owner: m.Owner, Version: s.r.version(s.id), Want: true, Refused: j.refused()}, nil
		}
		m.Delta = delta
	}
	answer, err := s.r.hear(m)
	told, is := answer.(cluster.Told)
	if !is || err != nil {
		return answer, err
	}
	// The catalog may have the same version as another judgement left it.
	if m.Set != nil && told.Version == m.Version && !told.Want && !s.r.showsAll(s.id, m.Set) {
		j.again = true
	}
	told.Again, told.Refused = j.again, j.refused()
	return told, nil
}

func (s *Speaker) beat(m cluster.Beat) (cluster.Message, error) {
	if s.judged != nil {
		if why := s.judged.anew(s.r.cfg.Now()); why != nil {
			s.r.tellBarred(s.node, why)
			return cluster.Beaten{Owner: m.Owner, Reattach: true}, nil
		}
	}
	answer, err := s.r.hear(m)
	if b, is := answer.(cluster.Beaten); is && s.judged != nil {
		b.Again = s.judged.again
		return b, nil
	}
	return answer, err
}

// maxBarred bounds Registry.barred.
const maxBarred = 10_000

// tellBarred logs once why the agent of a node may not attach. It tries again and again.
func (r *Registry) tellBarred(node string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == nil || errors.Is(why, errNotAttached) {
		delete(r.barred, node)
		return
	}
	if r.barred[node] == why.Error() {
		return
	}
	if len(r.barred) >= maxBarred {
		clear(r.barred)
	}
	r.barred[node] = why.Error()
	r.log.Warn("an agent may not attach: it needs a token that may write its node (acl.tokens.agent)", "node", node, "error", why)
}

// version returns the version of an owner's content here.
func (r *Registry) version(id skerry.OwnerID) skerry.Version {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, _ := r.core.Record(id)
	return known.Version
}

// showsAll reports whether the catalog shows the instances of a set and no others, if it shows the owner.
func (r *Registry) showsAll(id skerry.OwnerID, set *skerry.Set) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	shown := r.cfg.Table.Whole(id)
	if shown == nil {
		return true
	}
	if len(shown.Instances) != len(set.Instances) {
		return false
	}
	ids := make(map[string]bool, len(shown.Instances))
	for _, i := range shown.Instances {
		ids[i.ID] = true
	}
	for _, i := range set.Instances {
		if !ids[i.ID] {
			return false
		}
	}
	return true
}

// hear takes an owner's message.
func (r *Registry) hear(m cluster.Message) (answer cluster.Message, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	switch m := m.(type) {
	case cluster.Attach:
		answer = r.core.Attach(now, m)
	case cluster.Announce:
		answer = r.core.Announce(now, m)
	case cluster.Beat:
		answer = r.core.Beat(now, m)
	default:
		return nil, fmt.Errorf("a %T is no message of an owner", m)
	}
	r.land()
	return answer, nil
}
