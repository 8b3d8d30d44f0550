// Package rest lets servers rest that failed: each is asked again after a pause, which is twice as long after each
// failure.
package rest

import (
	"math/rand/v2"
	"time"
)

const (
	// First is the pause after one failure, give or take half.
	First = 100 * time.Millisecond
	// Longest is the pause after many failures, give or take half.
	Longest = 5 * time.Second
)

// Servers are the servers that failed. The zero value is none. It must not be used by several goroutines at once.
type Servers struct{ by map[string]pause }

// pause is the rest of one server.
type pause struct {
	until time.Time
	times int    // failures in a row
	last  string // the last error
}

// Failed lets a server rest after an error. It reports whether the error is another than the one before, so that
// each is logged once.
func (s *Servers) Failed(name string, err error) (news bool) {
	p := s.by[name]
	rest := min(First<<min(p.times, 10), Longest)
	p.until, p.times = time.Now().Add(rest/2+rand.N(rest)), p.times+1
	news = err.Error() != p.last
	p.last = err.Error()
	if s.by == nil {
		s.by = map[string]pause{}
	}
	s.by[name] = p
	return news
}

// Worked forgets the failures of a server.
func (s *Servers) Worked(name string) { delete(s.by, name) }

// Rests reports whether a server rests now.
func (s *Servers) Rests(name string) bool { return time.Now().Before(s.by[name].until) }

// Resting returns the servers that rest now.
func (s *Servers) Resting() (names []string) {
	for name := range s.by {
		if s.Rests(name) {
			names = append(names, name)
		}
	}
	return names
}
