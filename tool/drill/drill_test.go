package drill

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// judged is what is broken after calls that ended at these times, in seconds, with these errors.
func judged(t *testing.T, slack float64, note func(*series)) []string {
	t.Helper()
	s := &stage{o: Options{Slack: slack}, drill: Drill{promises: with(promise{gap: 5 * time.Second})}, result: &Result{}}
	s.load = newLoadWithout(s)
	note(s.load.tallies[keys].series())
	for k := range s.load.tallies {
		s.load.tallies[k].end(second(20))
	}
	s.judge()
	return s.result.Broken
}

func newLoadWithout(s *stage) *load { return &load{s: s, tallies: make([]tally, len(kinds))} }

func second(n float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(n * float64(time.Second)))
}

// A failure, and a gap that is too long, are broken promises; what a process that was away did not answer is
// neither.
func TestJudge(t *testing.T) {
	refused := errors.New("500 no leader")
	tests := []struct {
		name  string
		slack float64
		calls func(*series)
		want  string // a part of the only broken promise; "": none
	}{
		{"good", 1, func(s *series) { s.note(second(15), nil); s.note(second(19), nil) }, ""},
		{"one fails", 1, func(s *series) { s.note(second(16), nil); s.note(second(17), refused); s.note(second(18), nil) }, `keys: 1 of 3 failed, the first with "500 no leader"`},
		{"a gap", 1, func(s *series) { s.note(second(10), nil); s.note(second(16), nil) }, "no good answer for 6s, and 5s is promised"},
		{"a gap with slack", 2, func(s *series) { s.note(second(10), nil); s.note(second(16), nil) }, ""},
		{"a gap up to the end", 1, func(s *series) { s.note(second(14), nil) }, "no good answer for 6s"},
		{"away", 1, func(s *series) { s.note(second(2), nil); s.note(second(3), errAway); s.note(second(18), nil) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := judged(t, tt.slack, tt.calls)
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("broken: %q, want %q", got, tt.want)
			}
		})
	}
}

// Times of facts are promises too.
func TestJudgeFacts(t *testing.T) {
	s := &stage{o: Options{Slack: 1}, result: &Result{Facts: []Fact{{"it was whole again", 3 * time.Second, 2 * time.Second}, {"it was gone", time.Second, 2 * time.Second}}}}
	s.load = newLoadWithout(s)
	s.judge()
	if got := s.result.Broken; len(got) != 1 || !strings.Contains(got[0], "it was whole again after 3s") {
		t.Errorf("broken: %q", got)
	}
}

// A second holder is a fault while the first one's session lives.
func TestHeldTwice(t *testing.T) {
	l := newLoadWithout(nil)
	l.taken("a1", time.Now().Add(time.Hour))
	l.released("a1")
	l.taken("a2", time.Now().Add(-time.Hour)) // its session has ended
	l.taken("a1", time.Now().Add(time.Hour))
	if got := l.faults(); len(got) > 0 {
		t.Errorf("broken: %q", got)
	}
	l.taken("a2", time.Now().Add(time.Hour))
	if got := l.faults(); len(got) != 1 || !strings.Contains(got[0], "held twice") {
		t.Errorf("broken: %q", got)
	}
}

// Every drill can be read by a stranger, and has a bound.
func TestTable(t *testing.T) {
	if all := All(); !slices.IsSortedFunc(all, func(a, b Drill) int { return strings.Compare(a.Name, b.Name) }) || len(all) != len(drills) {
		t.Errorf("%v", all)
	}
	for _, d := range drills {
		if d.Short == "" || !strings.HasPrefix(d.Expect, "In production: ") || d.whole == 0 || len(d.promises) != len(kinds) {
			t.Errorf("%+v", d)
		}
	}
}
