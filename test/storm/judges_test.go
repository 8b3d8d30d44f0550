//go:build linux

package storm

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// The judges of a storm find the faults that they are for.
func TestVanishedOwnersAreFound(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }
	cutOff := func(n int) func(*era) {
		return func(e *era) {
			for _, w := range between(3, []int{n}) {
				e.apart[w]++
			}
		}
	}
	oneWay := func(e *era) { e.apart[pair{0, 1}]++ }
	out := func(n int) func(*era) { return func(e *era) { e.out[n]++ } }
	slow := func(n int) func(*era) { return func(e *era) { e.slow[n]++ } }
	for _, tt := range []struct {
		name  string
		fault func(*era) // from 60 s on
		beat  beat
		gone  vanish
		want  string
	}{
		{"heard here", nil, beat{0, at(50), at(50)}, vanish{0, "o", at(53), at(53)}, "s1 lost o at 00:00:53.000, 3s after it had beaten at s1"},
		{"heard by another", nil, beat{1, at(50), at(50)}, vanish{0, "o", at(53), at(53)}, "beaten at s2, which it heard"},
		{"silent for long", nil, beat{1, at(50), at(50)}, vanish{0, "o", at(54.1), at(54.1)}, ""},
		{"perhaps heard later", nil, beat{1, at(50), at(52)}, vanish{0, "o", at(51), at(53)}, ""},
		{"vanished between two answers", nil, beat{1, at(50), at(51)}, vanish{0, "o", at(51), at(53)}, "beaten at s2"},
		{"heard later", nil, beat{1, at(53), at(53)}, vanish{0, "o", at(52), at(52)}, ""},
		{"heard beyond a cut", cutOff(1), beat{1, at(65), at(65)}, vanish{0, "o", at(67), at(67)}, ""},
		{"heard on this side of a cut", cutOff(2), beat{1, at(65), at(65)}, vanish{0, "o", at(67), at(67)}, "beaten at s2"},
		{"heard beyond a cut of one way", oneWay, beat{1, at(65), at(65)}, vanish{0, "o", at(67), at(67)}, ""},
		{"heard here, cut off", cutOff(0), beat{0, at(61), at(61)}, vanish{0, "o", at(63), at(63)}, "beaten at s1"},
		{"just before a cut", cutOff(1), beat{1, at(59), at(59)}, vanish{0, "o", at(62), at(62)}, ""},
		{"in a minority", cutOff(0), beat{1, at(20), at(20)}, vanish{0, "o", at(67), at(67)}, "s1, in a minority"},
		{"not for long in a minority", cutOff(0), beat{1, at(20), at(20)}, vanish{0, "o", at(63), at(63)}, ""},
		{"a server that was stopped heard it", out(1), beat{1, at(59), at(59)}, vanish{0, "o", at(62), at(62)}, ""},
		{"two of three remain", out(2), beat{1, at(64), at(64)}, vanish{0, "o", at(66), at(66)}, "beaten at s2"},
		{"heard over a slow link", slow(1), beat{1, at(65), at(65)}, vanish{0, "o", at(67), at(67)}, ""},
		{"heard here, with a slow link", slow(0), beat{0, at(65), at(65)}, vanish{0, "o", at(67), at(67)}, "beaten at s1"},
		{"slow is no minority", slow(0), beat{1, at(20), at(20)}, vanish{0, "o", at(80), at(80)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(3, 0)
			if tt.fault != nil {
				r.mark(at(60), tt.fault)
			}
			r.heard("o", tt.beat.server, tt.beat.at, tt.beat.done)
			r.gone(tt.gone.server, tt.gone.owner, tt.gone.from, tt.gone.at)
			got := r.wrong()
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0].Error(), tt.want)) {
				t.Errorf("wrong() = %v, want %q", got, tt.want)
			}
			r.leaves("withdrawn")
			r.heard("withdrawn", 0, at(50), at(50))
			before := r.removals()
			r.gone(0, "withdrawn", at(50), at(50))
			if r.removals() != before {
				t.Error("an owner that withdrew is missed")
			}
		})
	}
}

func TestWhatIsForgottenIsNotJudged(t *testing.T) {
	r, now := newRecord(1, 0), time.Now()
	r.mark(now.Add(-time.Hour), func(e *era) { e.out[0]++ })
	r.mark(now.Add(-time.Minute), func(e *era) { e.out[0]-- })
	r.heard("o", 0, now.Add(-time.Second), now.Add(-time.Second))
	r.gone(0, "o", now, now)
	r.forget(now.Add(-30 * time.Second))
	if err := r.wrong(); err != nil {
		t.Errorf("after forget: %v", err)
	}
	r.gone(0, "o", now, now)
	if got := r.wrong(); len(got) != 1 {
		t.Errorf("what was kept says %v, want that o is lost wrongly", got)
	}
}

func TestLocksHeldTwiceAreFound(t *testing.T) {
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	one := hold{"k", "a", 1, at(0), at(10)}
	for _, tt := range []struct {
		name  string
		other hold
		want  string
	}{
		{"after it", hold{"k", "b", 2, at(10), at(20)}, ""},
		{"another key", hold{"l", "b", 1, at(5), at(6)}, ""},
		{"the same session", hold{"k", "a", 1, at(5), at(12)}, ""},
		{"at the same time", hold{"k", "b", 2, at(9), at(20)}, "held twice"},
		{"within it", hold{"k", "b", 2, at(2), at(3)}, "held twice"},
		{"with the same fence", hold{"k", "b", 1, at(10), at(20)}, "lock index 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := doubles([]hold{tt.other, one})
			if (len(got) > 0) != (tt.want != "") || tt.want != "" && !strings.Contains(got[0].Error(), tt.want) {
				t.Errorf("doubles() = %v, want %q", got, tt.want)
			}
		})
	}
}

func TestDifferencesAreFound(t *testing.T) {
	a := instance{"web", "n1", "10.0.0.1", "web.1", 80, "passing"}
	b := a
	b.port = 81
	for _, tt := range []struct {
		one, two []instance
		differ   bool
	}{
		{[]instance{a}, []instance{a}, false}, {[]instance{a}, []instance{b}, true}, {[]instance{a}, nil, true},
		{nil, []instance{a}, true}, {[]instance{a, a}, []instance{a}, true},
	} {
		if err := differ("s1", tt.one, "s2", tt.two); (err != nil) != tt.differ {
			t.Errorf("differ(%v, %v) = %v", tt.one, tt.two, err)
		}
	}
	got := lacking([]instance{a}, map[string]int{"web.1": 81, "web.2": 80})
	if want := "web.1 with port 81, but 80, web.2"; got != want {
		t.Errorf("lacking() = %q, want %q", got, want)
	}
}

// What fails or is missing at agents is found, and nothing else. Agents are the hosts 3 and 4, with a service each.
func TestWhatIsMissedAtAgentsIsFound(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }
	out := func(n int) func(*era) { return func(e *era) { e.out[n]++ } }
	cut := func(a int, from ...int) func(*era) {
		return func(e *era) {
			for _, b := range from {
				e.apart[pair{a, b}]++
			}
		}
	}
	type test struct {
		name     string
		fault    func(*era) // from 60 s on
		to       float64    // its end; 0: it lasts
		missing  missing
		rightful bool
	}
	see := func(host int, id string, seconds float64) missing {
		return missing{host, "GET web", id, at(seconds), at(seconds)}
	}
	for _, tt := range []test{
		{"no fault", nil, 0, see(4, "web-a1-0", 65), false},
		{"nothing is shown", nil, 0, see(4, "", 65), false},
		{"it is withdrawn", nil, 0, see(4, "web-a1-1", 65), true},
		{"it was withdrawn later", nil, 0, see(4, "web-a1-1", 59), false},
		{"it left in an earlier round", nil, 0, see(4, "web-a1-9", 59), true},
		{"its agent crashes", out(3), 61.5, see(4, "web-a1-0", 63), false},
		{"its agent hangs within its TTL", out(3), 63, see(4, "web-a1-0", 63.5), false},
		{"its agent is away", out(3), 0, see(4, "web-a1-0", 65), true},
		{"its agent is away, too soon", out(3), 0, see(4, "web-a1-0", 63), false},
		{"its agent came back", out(3), 70, see(4, "web-a1-0", 75), true},
		{"its agent came back long ago", out(3), 70, see(4, "web-a1-0", 85), false},
		{"its agent is cut off", cut(3, 0, 1, 2), 0, see(4, "web-a1-0", 65), true},
		{"its agent is cut off, at itself", cut(3, 0, 1, 2), 0, see(3, "web-a1-0", 65), false},
		{"its agent is cut off from two of three", cut(3, 0, 1), 0, see(4, "web-a1-0", 70), false},
		{"its agent reaches a server that is in a minority", func(e *era) { cut(3, 0, 1)(e); cut(2, 0, 1)(e) }, 0, see(4, "web-a1-0", 70), true},
		{"another agent is away", out(4), 0, see(3, "web-a1-0", 70), false},
		{"all servers are down", func(e *era) { out(0)(e); out(1)(e); out(2)(e) }, 0, see(4, "web-a1-0", 80), false},
		{"it came when a server was away", out(0), 0, see(4, "web-a1-2", 66), false},
		{"its registration was not acknowledged", out(0), 0, see(4, "web-a1-3", 66), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(3, 2)
			if tt.fault != nil {
				r.mark(at(60), tt.fault)
			}
			if tt.to > 0 {
				r.mark(at(tt.to), func(e *era) { *e = era{from: e.from, apart: map[pair]int{}, slow: make([]int, 5), out: make([]int, 5)} })
			}
			for _, id := range []string{"web-a1-0", "web-a1-1", "web-a1-2"} {
				r.lives(id, 3)
				r.registered(id)
			}
			r.lives("web-a1-3", 3)
			r.ends("web-a1-1", at(60))
			r.misses(tt.missing)
			if got := r.missed(); (len(got) == 0) != tt.rightful {
				t.Errorf("missed() = %v, want that it is rightful: %v", got, tt.rightful)
			}
		})
	}
	r := newRecord(3, 2)
	r.mark(at(60), out(3))
	r.mark(at(62), func(e *era) { e.out[3]-- })
	for _, c := range []call{
		{3, "in the crash", at(61), at(61.5), io.EOF, false}, {3, "before it", at(59), at(60.5), io.EOF, false}, {3, "after it", at(63), at(64), io.EOF, false},
		{4, "at another", at(61), at(61.5), io.EOF, false}, {4, "answered", at(61), at(61.5), nil, false},
	} {
		r.asked(c)
	}
	var got []string
	for _, err := range r.missed() {
		got = append(got, err.Error())
	}
	want := []string{"a1 failed after it, from 00:01:03.000 to 00:01:04.000: EOF", "a2 failed at another, from 00:01:01.000 to 00:01:01.500: EOF"}
	if !slices.Equal(got, want) {
		t.Errorf("missed() = %q, want %q", got, want)
	}
}

// The cuts of a split part the two sides and nothing else.
func TestASplitPartsTwoSides(t *testing.T) {
	ways := between(5, []int{0, 3})
	if len(ways) != 12 {
		t.Errorf("%d ways are cut, want 12", len(ways))
	}
	for _, w := range ways {
		if slices.Contains([]int{0, 3}, w.from) == slices.Contains([]int{0, 3}, w.to) {
			t.Errorf("the way %v is on one side", w)
		}
	}
}
