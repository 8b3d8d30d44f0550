package drill

import (
	"errors"
	"sync"
	"time"
)

// kind is a kind of calls.
type kind int

const (
	lookUps kind = iota
	registrations
	keys
	locks
)

// kinds are their names in a report.
var kinds = []string{
	lookUps: "look-ups", registrations: "registrations", keys: "keys", locks: "locks",
}

// tally counts calls of one kind.
type tally struct {
	mu     sync.Mutex
	calls  int
	failed int
	gap    time.Duration
	first  string
	all    []*series
}

// series are the calls of one caller.
type series struct {
	t    *tally
	good time.Time // the last good answer; zero: no gap is open
}

func (t *tally) series() *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &series{t: t}
	t.all = append(t.all, s)
	return s
}

// note counts a call that ended now.
func (s *series) note(now time.Time, err error) {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(err, errAway) {
		s.good = time.Time{}
		return
	}
	if t.calls++; err != nil {
		if t.failed++; t.first == "" {
			t.first = err.Error()
		}
		return
	}
	s.close(now)
	s.good = now
}

// close measures the gap up to now.
func (s *series) close(now time.Time) {
	if !s.good.IsZero() {
		s.t.gap = max(s.t.gap, now.Sub(s.good))
	}
}

// end closes the gaps that are open.
func (t *tally) end(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.all {
		s.close(now)
		s.good = time.Time{}
	}
}

func (t *tally) count(k kind) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Count{Kind: kinds[k], Calls: t.calls, Failed: t.failed, Gap: t.gap.Round(10 * time.Millisecond), First: t.first}
}
