package node

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/quorum"
)

// lead hands the lead of the quorum store over. Only the leader can, so that other servers
// ask it.
type lead struct {
	n       *Node
	asking  chan handOver           // of other servers, one at a time
	answers chan cluster.HandedOver // to this server's own question
	own     chan uint64             // has the number of the last own question while none is under way
}

// handOver is another server's question.
type handOver struct {
	from cluster.ServerID
	cluster.HandOver
}

// handOverWithin bounds one transfer.
const handOverWithin = 7 * time.Second

func newLead(n *Node) *lead {
	l := &lead{n: n, asking: make(chan handOver, 1), answers: make(chan cluster.HandedOver, 1), own: make(chan uint64, 1)}
	l.own <- 0
	return l
}

// asked notes the question of another server.
func (l *lead) asked(from cluster.ServerID, m cluster.HandOver) {
	select {
	case l.asking <- handOver{from, m}:
	default:
		l.send(from, cluster.HandedOver{N: m.N, Refused: "the lead is being handed over already: try again"})
	}
}

// answered takes the answer to this server's question.
func (l *lead) answered(m cluster.HandedOver) {
	select {
	case l.answers <- m:
	default:
	}
}

func (l *lead) send(to cluster.ServerID, m cluster.Message) {
	l.n.registry.Send([]cluster.Envelope{{To: to, Message: m}})
}

// run answers the questions of other servers.
func (l *lead) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-l.asking:
			answer := cluster.HandedOver{N: q.N}
			if err := l.give(ctx, q.To); err != nil {
				answer.Refused = err.Error()
			}
			l.send(q.from, answer)
		}
	}
}

// give makes another member the leader. This server's member must lead.
func (l *lead) give(ctx context.Context, to string) error {
	ms, err := l.n.store.kv.Members()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWithin)
	defer cancel()
	return ms.TransferLeadership(ctx, to)
}

// ask asks the leader to hand over, and waits until this server knows another leader.
func (l *lead) ask(ctx context.Context, ms *quorum.Members, leader quorum.Member, to string) error {
	ctx, cancel := context.WithTimeout(ctx, handOverWithin)
	defer cancel()
	late := skerry.Errorf(skerry.Unavailable, "the server %s leads on: it did not hand over in time", leader.Name)
	var n uint64
	select {
	case n = <-l.own:
		n++
		defer func() { l.own <- n }()
	case <-ctx.Done():
		return late
	}
	l.send(cluster.ServerID(leader.Name), cluster.HandOver{To: to, N: n})
	for {
		changed := ms.LeaderChanged()
		if now, ok := ms.Leader(); ok && now.ID != leader.ID {
			if to == "" || now.Name == to {
				return nil
			}
			return skerry.Errorf(skerry.Conflict, "the server %s leads now: there was another change", now.Name)
		}
		select {
		case <-ctx.Done():
			return late
		case <-changed:
		case a := <-l.answers:
			if a.N == n && a.Refused != "" {
				return skerry.Errorf(skerry.Conflict, "the server %s leads on: %s", leader.Name, a.Refused)
			}
		}
	}
}

// TransferLeader implements [skerry.Servers].
func (s servers) TransferLeader(ctx context.Context, name string) error {
	ms, err := s.n.store.kv.Members()
	if err != nil {
		return err
	}
	leader, ok := ms.Leader()
	switch {
	case !ok:
		return skerry.Errorf(skerry.Unavailable, "No cluster leader: there is no lead to hand over")
	case leader.Name == name:
		return skerry.Errorf(skerry.Conflict, "the server %s leads already", name)
	case leader.Self:
		err = s.n.among.lead.give(ctx, name)
	default:
		err = s.n.among.lead.ask(ctx, ms, leader, name)
	}
	if err == nil {
		s.n.log.Info("the lead of the quorum store was handed over", "from", leader.Name)
	}
	return err
}
