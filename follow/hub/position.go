package hub

import (
	"math/bits"

	"github.com/skerryhq/skerry"
)

// seat is the position of one reader of a service: one that it came with, or a number among those of this hub.
type seat struct {
	held   skerry.Position
	number uint32
}

// seats numbers the readers of a service. The number of one that left is given to the next.
type seats struct {
	next uint32
	free []uint32
}

func (s *seats) take(held skerry.Position) seat {
	if held != 0 {
		return seat{held: held}
	}
	if last := len(s.free) - 1; last >= 0 {
		number := s.free[last]
		s.free = s.free[:last]
		return seat{number: number}
	}
	s.next++
	return seat{number: s.next - 1}
}

func (s *seats) leave(taken seat) {
	if taken.held == 0 {
		s.free = append(s.free, taken.number)
	}
}

// position returns the position of a seat on a ring that begins somewhere. Numbers in the order of their bits reversed (van
// der Corput, 1935) lie evenly, however many there are, so that a reader that comes or goes moves no other. An odd factor
// keeps that, and lets the readers of one agent lie otherwise than those of the next.
func (t seat) position(ring skerry.Position) skerry.Position {
	switch {
	case t.held != 0:
		return t.held
	case ring == 0:
		return 0
	}
	return max(ring+skerry.Position(bits.Reverse32(t.number*uint32(ring|1))), 1)
}

// Position implements [skerry.Subscription].
func (s *subscription) Position(name string) skerry.Position {
	name = skerry.Fold(name)
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	t := s.hub.topics[name]
	if t == nil {
		return 0
	}
	taken, follows := t.readers[s]
	if !follows {
		return 0
	}
	return taken.position(s.hub.ring(name))
}
