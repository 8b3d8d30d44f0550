package lb

import (
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	const ms = time.Millisecond
	type call struct {
		began, took time.Duration
		r           Result
	}
	steady := func(l *latency) { // 1 ms, until 2 s
		for at := time.Duration(0); at < 2*time.Second; at += 10 * ms {
			l.observe(at+ms, ms, OK)
		}
	}
	for _, tc := range []struct {
		name     string
		calls    []call
		at       time.Duration
		from, to time.Duration
	}{
		{"steady", nil, 2 * time.Second, 900 * time.Microsecond, ms},
		{"twice as long counts at once", []call{{2000 * ms, 2 * ms, OK}}, 2003 * ms, 1900 * time.Microsecond, 2 * ms},
		{"and fades slowly", []call{{2000 * ms, 2 * ms, OK}}, 4500 * ms, 1100 * time.Microsecond, 1300 * time.Microsecond},
		{"nine times as long is no spike", []call{{2000 * ms, 9 * ms, OK}}, 2600 * ms, 7 * ms, 9 * ms},
		{"a spike counts at once", []call{{2000 * ms, 50 * ms, OK}}, 2051 * ms, 45 * ms, 50 * ms},
		{"and fades soon, to what was usual", []call{{2000 * ms, 50 * ms, OK}}, 2600 * ms, 800 * time.Microsecond, 950 * time.Microsecond},
		{"calls that began before its end are part of it", []call{{2000 * ms, 50 * ms, OK}, {2010 * ms, 41 * ms, OK}, {2040 * ms, 60 * ms, OK}}, 2101 * ms, 55 * ms, 60 * ms},
		{"fast ones among them do not end it", []call{{2000 * ms, 50 * ms, OK}, {2049 * ms, 2 * ms, OK}}, 2051 * ms, 45 * ms, 50 * ms},
		{"a fast one after it does", []call{{2000 * ms, 50 * ms, OK}, {2060 * ms, 900 * time.Microsecond, OK}}, 2061 * ms, 900 * time.Microsecond, ms},
		{"a slow one after it confirms it", []call{{2000 * ms, 50 * ms, OK}, {2060 * ms, 3 * ms, OK}}, 2600 * ms, 40 * ms, 50 * ms},
		{"and those that follow are believed", []call{{2000 * ms, 50 * ms, OK}, {2060 * ms, 40 * ms, OK}, {20_000 * ms, 50 * ms, OK}}, 20_550 * ms, 40 * ms, 50 * ms},
		{"for a while", []call{{2000 * ms, 50 * ms, OK}, {2060 * ms, 40 * ms, OK}, {40_000 * ms, 50 * ms, OK}}, 40_600 * ms, 0, 2 * ms},
		{"a failure is no spike", []call{{2000 * ms, 50 * ms, Failed}}, 2600 * ms, 40 * ms, 50 * ms},
		{"a fast failure is not fast", []call{{2000 * ms, 50 * ms, OK}, {2060 * ms, ms, Failed}}, 2061 * ms, 40 * ms, 50 * ms},
		{"what is forgotten begins anew", nil, time.Hour, 0, time.Nanosecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := latency{decay: float64(5 * time.Second)}
			steady(&l)
			for _, c := range tc.calls {
				l.observe(c.began+c.took, c.took, c.r)
			}
			if got := time.Duration(l.read(tc.at)); got < tc.from || got > tc.to {
				t.Errorf("%v, want %v to %v", got, tc.from, tc.to)
			}
		})
	}
}
