package hub

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow"
)

const (
	// wakesAfter is how long the catalog gathers changes before it wakes its watchers: a question that came earlier would hurry the
	// change that it is about.
	wakesAfter = 2 * time.Millisecond
	// EchoWithin is how long a follower's answer is awaited.
	EchoWithin = time.Second
	// maxAsked is the most followers that are asked about one change, and maxEchoes the most questions at once.
	maxAsked  = 16
	maxEchoes = 256
)

// echo is a question to some followers: do they have the present view of a service?
type echo struct {
	began  time.Time
	report func(took map[string]time.Duration, late []string)
	waits  map[*session]bool
	took   map[string]time.Duration // by node
	timer  *time.Timer
}

// Echo asks followers of a service, or any if the name is empty, to acknowledge what they were sent so far: 16 at most, and
// others each time. It calls report once, within about a second, with the time that they took, and the nodes of those that did not answer.
// Without followers it does not call it. It does not block.
func (s *Server) Echo(service string, report func(took map[string]time.Duration, late []string)) {
	service = skerry.Fold(service)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.echoes) >= maxEchoes {
		return
	}
	var followers []*session
	for f := range s.sessions { // in another order each time
		if service == "" || f.follows(service) {
			if followers = append(followers, f); len(followers) == maxAsked {
				break
			}
		}
	}
	if len(followers) == 0 {
		return
	}
	s.echoed++
	number := s.echoed
	e := &echo{began: time.Now(), report: report, waits: map[*session]bool{}, took: map[string]time.Duration{}}
	for _, f := range followers {
		e.waits[f] = true
	}
	s.echoes[number] = e
	e.timer = time.AfterFunc(wakesAfter, func() { s.sendEcho(number, service) })
}

// Followers reports whether any agent follows here.
func (s *Server) Followers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions) > 0
}

func (s *Server) sendEcho(number uint64, service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.echoes[number]
	if e == nil {
		return
	}
	for f := range e.waits {
		f.sub.send(errand{service, func() follow.Tell { return follow.Tell{Echo: number} }})
	}
	e.timer = time.AfterFunc(EchoWithin, func() { s.endEcho(number) })
}

// heard takes a follower's answer.
func (s *Server) heard(f *session, number uint64) {
	s.mu.Lock()
	e := s.echoes[number]
	done := false
	if e != nil && e.waits[f] {
		delete(e.waits, f)
		e.took[f.node] = time.Since(e.began)
		done = len(e.waits) == 0
	}
	s.mu.Unlock()
	if done {
		s.endEcho(number)
	}
}

// endEcho reports what a question has led to.
func (s *Server) endEcho(number uint64) {
	s.mu.Lock()
	e := s.echoes[number]
	delete(s.echoes, number)
	var late []string
	if e != nil {
		e.timer.Stop()
		for f := range e.waits {
			if _, is := s.sessions[f]; is { // one that left is asked elsewhere
				late = append(late, f.node)
			}
		}
	}
	s.mu.Unlock()
	if e != nil && len(e.took)+len(late) > 0 {
		slices.Sort(late)
		e.report(e.took, late)
	}
}
