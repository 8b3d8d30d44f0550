package node

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/skerryhq/skerry/link"
)

// shares are the parts of this server that the agent of each node may use: an agent that asks for more is slowed. An agent sends
// as many messages as it likes in one, so that none that is well waits.
type shares struct {
	mu    sync.Mutex
	nodes map[string]*share
}

type share struct {
	streams  int
	messages *rate.Limiter
}

const (
	// messagesPerSecond is how many messages of one node are taken, after messageBurst at once.
	messagesPerSecond = 200
	messageBurst      = 2000
	// sharesEvery is how often shares are dropped that are not used any more.
	sharesEvery = time.Minute
)

// enter returns a stream whose messages come as fast as the share of its node allows. left ends it.
func (s *shares) enter(ctx context.Context, stream *link.Stream) (in *paced, left func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = map[string]*share{}
	}
	of := s.nodes[stream.Node]
	if of == nil {
		of = &share{messages: rate.NewLimiter(messagesPerSecond, messageBurst)}
		s.nodes[stream.Node] = of
	}
	of.streams++
	return &paced{stream, ctx, of.messages}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		of.streams--
		s.forget(stream.Node, of)
	}
}

// forget drops a share that no stream uses and of which nothing is used up: an agent that opens a new stream has no more than
// before. It must be called with mu held.
func (s *shares) forget(node string, of *share) {
	if of.streams == 0 && of.messages.Tokens() >= messageBurst-1 {
		delete(s.nodes, node)
	}
}

// sweep drops the shares that are not used any more.
func (s *shares) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, of := range s.nodes {
		s.forget(node, of)
	}
}

// paced is a stream of an agent.
type paced struct {
	*link.Stream
	ctx      context.Context
	messages *rate.Limiter
}

// Receive is that of the stream, slowed.
func (p *paced) Receive() ([]byte, error) {
	if err := p.messages.Wait(p.ctx); err != nil {
		return nil, err
	}
	return p.Stream.Receive()
}
