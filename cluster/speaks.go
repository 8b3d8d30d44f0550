package cluster

import (
	"fmt"
	"strconv"
)

// Range is the versions of the protocol that a server speaks.
type Range struct{ Min, Max uint16 }

// String returns the versions as people read them: "1", or "1 to 3".
func (r Range) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(int(r.Min))
	}
	return fmt.Sprintf("%d to %d", r.Min, r.Max)
}

// speaks is the versions that this release speaks. 2 has QuietAsk.
var speaks = Range{1, 2}

// Refused names a peer that speaks no version that this server speaks, or that is of another
// cluster. None of its messages is taken.
type Refused struct {
	Peer         ServerID
	Ours, Theirs Range
	// Cluster and TheirCluster are set if the peer is of another cluster.
	Cluster, TheirCluster string
}

// overlaps reports whether two servers can speak to each other.
func (r Range) overlaps(o Range) bool { return r.Min <= o.Max && o.Min <= r.Max }

// refuse reports whether a peer has to be refused by its tick.
func (s *Server) refuse(from ServerID, p *peer, m Tick) bool {
	theirs := m.Speaks
	if theirs == (Range{}) {
		theirs = Range{1, 1}
	}
	foreign := s.cluster != "" && m.Cluster != "" && m.Cluster != s.cluster
	if s.speaks.overlaps(theirs) && !foreign {
		p.refused = 0
		return false
	}
	if p.refused != m.Head.Life {
		p.refused = m.Head.Life
		r := Refused{Peer: from, Ours: s.speaks, Theirs: theirs}
		if foreign {
			r.Cluster, r.TheirCluster = s.cluster, m.Cluster
		}
		s.out.Refused = append(s.out.Refused, r)
	}
	return true
}

// takes reports whether a message that is no tick is taken. A tick has the protocol of a peer and
// its cluster. Before the first one only questions are answered, and records of a later
// life of the peer wait for a tick of that life: a comparison brings them.
func (p *peer) takes(m Message) bool {
	if p.refused != 0 {
		return false
	}
	switch m := m.(type) {
	case Ask, Want, Fetch, HeadAsk:
		return true
	case Log:
		return !p.ticked.IsZero() && m.First.Life <= p.tick.Head.Life
	default:
		return !p.ticked.IsZero()
	}
}

// SetCluster names the cluster of this server, once it is formed. The messages of servers of
// another one are not taken: its catalog is another one, and so is its majority.
func (s *Server) SetCluster(name string) { s.cluster = name }
