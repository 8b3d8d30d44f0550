// Package hub lets readers follow services of a process: it wakes each of them with the services that
// changed, and serves the followers at the other end of streams.
package hub

import (
	"context"
	"sync"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

// Hub is a [skerry.Subscriber]. Each service that is followed has one goroutine, however many readers it has.
type Hub struct {
	discovery skerry.Discovery
	ring      func(service string) skerry.Position // where the positions of readers begin

	mu     sync.Mutex
	topics map[string]*topic
}

// topic is a service that is followed.
type topic struct {
	name    string
	readers map[*subscription]seat
	seats   seats
	ended   chan struct{}
}

// New returns a hub of the services that discovery knows. ring returns where the positions of the readers of a service
// begin; 0: it is not known yet.
func New(discovery skerry.Discovery, ring func(service string) skerry.Position) *Hub {
	return &Hub{discovery: discovery, ring: ring, topics: map[string]*topic{}}
}

// subscription implements [skerry.Subscription].
type subscription struct {
	hub    *Hub
	awake  chan struct{}
	closed bool // protected by the hub's lock

	mu      sync.Mutex
	names   []string
	due     map[string]bool
	errands []errand
}

// errand is a frame for a follower, that is sent when its view of a service is up to date.
type errand struct {
	service string // empty: the frame is about none
	tell    func() follow.Tell
}

// Subscribe implements [skerry.Subscriber].
func (h *Hub) Subscribe() skerry.Subscription { return h.subscribe() }

func (h *Hub) subscribe() *subscription {
	return &subscription{hub: h, awake: make(chan struct{}, 1), due: map[string]bool{}}
}

// Follow implements [skerry.Subscription].
func (s *subscription) Follow(name string, held skerry.Position) {
	name = skerry.Fold(name)
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return
	}
	t := h.topics[name]
	if t == nil {
		t = &topic{name: name, readers: map[*subscription]seat{}, ended: make(chan struct{})}
		h.topics[name] = t
		index, changed := h.discovery.Watch(t.topic()) // before the reader reads
		go h.watch(t, index, changed)
	}
	if _, follows := t.readers[s]; !follows {
		t.readers[s] = t.seats.take(held)
	}
	s.mark(name)
}

func (t *topic) topic() skerry.Topic { return skerry.Topic{Kind: skerry.TopicService, Name: t.name} }

// watch wakes the readers of a topic until it has none.
func (h *Hub) watch(t *topic, index uint64, changed <-chan struct{}) {
	for {
		select {
		case <-t.ended:
			return
		case <-changed:
		}
		was := index
		if index, changed = h.discovery.Watch(t.topic()); index == was {
			continue // another name of the same bucket
		}
		h.mu.Lock()
		for s := range t.readers {
			s.mark(t.name)
		}
		h.mu.Unlock()
	}
}

// Unfollow implements [skerry.Subscription].
func (s *subscription) Unfollow(name string) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.leave(s, skerry.Fold(name))
}

// leave takes a reader from a topic. It must be called with mu held.
func (h *Hub) leave(s *subscription, name string) {
	t := h.topics[name]
	if t == nil {
		return
	}
	if taken, follows := t.readers[s]; follows {
		t.seats.leave(taken)
	}
	if delete(t.readers, s); len(t.readers) == 0 {
		close(t.ended)
		delete(h.topics, name)
	}
}

// Close implements [skerry.Subscription].
func (s *subscription) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.closed = true
	for name, t := range h.topics {
		if _, reads := t.readers[s]; reads {
			h.leave(s, name)
		}
	}
}

// mark notes that a service changed.
func (s *subscription) mark(name string) {
	s.mu.Lock()
	if !s.due[name] {
		s.due[name] = true
		s.names = append(s.names, name)
	}
	s.mu.Unlock()
	s.wake()
}

// send notes an errand.
func (s *subscription) send(e errand) {
	s.mu.Lock()
	s.errands = append(s.errands, e)
	s.mu.Unlock()
	s.wake()
}

func (s *subscription) wake() {
	select {
	case s.awake <- struct{}{}:
	default:
	}
}

// Next implements [skerry.Subscription].
func (s *subscription) Next(ctx context.Context) ([]string, error) {
	names, _, err := s.next(ctx)
	return names, err
}

// next is Next that also returns errands. One of both may be empty.
func (s *subscription) next(ctx context.Context) ([]string, []errand, error) {
	for {
		s.mu.Lock()
		names, errands := s.names, s.errands
		s.names, s.errands = nil, nil
		clear(s.due)
		s.mu.Unlock()
		if len(names)+len(errands) > 0 {
			return names, errands, nil
		}
		select {
		case <-s.awake:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// again marks all services of all readers: outputs of checks changed without a wake-up.
func (h *Hub) again() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		for s := range t.readers {
			s.mark(t.name)
		}
	}
}
