package lb

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// A latency this many times the usual one is a spike: a pause of the instance, as
	// garbage collectors and the machines' other tenants cause, or the beginning of
	// something worse. The next call decides which.
	spike = 10
	// confirm is how many times the usual latency the next call takes in the worse case.
	confirm = 1.5
	// sentence is the time in which a spike that no call confirms falls to the usual
	// latency.
	sentence = 500 * time.Millisecond
	// believed is for how long spikes are not doubted after one has been confirmed.
	believed = 30 * time.Second
)

// latency is the latency of calls to an instance, in nanoseconds: a peak EWMA, which
// rises at once and falls slowly. Only a spike is forgotten soon, and at once when a call
// that began after it takes the usual time. Values that picks read are atomic; observe
// holds the stat's mu.
type latency struct {
	decay float64 // in which it falls to 1/e while nothing is known

	value atomic.Uint64 // bits of a float64, at since
	since atomic.Int64
	fades atomic.Uint64 // bits of a float64: in place of decay, after a spike
	calm  atomic.Uint64 // bits of a float64: the value before the spike, at since; 0 if there is none

	until time.Duration // when the spike's last call ended
	wary  time.Duration // until when spikes are not doubted
}

// read returns the latency at a later time.
func (l *latency) read(now time.Duration) float64 {
	v, age := math.Float64frombits(l.value.Load()), l.age(now)
	if age == 0 {
		return v
	}
	if calm := math.Float64frombits(l.calm.Load()); calm > 0 {
		return max(v*math.Exp(-age/math.Float64frombits(l.fades.Load())), calm*math.Exp(-age/l.decay))
	}
	return v * math.Exp(-age/l.decay)
}

// age returns how many nanoseconds ago the value was kept.
func (l *latency) age(now time.Duration) float64 { return float64(max(int64(now)-l.since.Load(), 0)) }

// observe takes in a call that ended now. A failure may raise the latency and never
// lowers it: one that fails fast is not fast.
func (l *latency) observe(now, took time.Duration, r Result) {
	v, sample, left := l.read(now), float64(took), math.Exp(-l.age(now)/l.decay)
	usual := math.Float64frombits(l.calm.Load()) * left // the value without the spike, if there is one
	switch {
	case r != OK:
		if sample > v {
			l.keep(now, sample)
		}
	case usual > 0 && now-took >= l.until: // the first that is not part of the spike
		if sample > confirm*usual {
			l.wary = now + believed
			l.keep(now, max(sample, math.Float64frombits(l.value.Load())*left)) // as if it had not been doubted
		} else if sample <= usual {
			l.keep(now, usual)
		}
	case sample > v:
		if usual == 0 && v > 0 && sample > spike*v && now >= l.wary {
			usual = v
		}
		l.keep(now, sample)
		if usual > 0 {
			l.doubt(now, sample, usual)
		}
	case usual == 0:
		l.keep(now, v+sample*(1-left))
	}
}

// keep makes a latency that of now, and ends a spike.
func (l *latency) keep(now time.Duration, v float64) {
	l.value.Store(math.Float64bits(v))
	l.calm.Store(0)
	l.since.Store(int64(now))
}

// doubt makes the latency of now a spike above the usual one.
func (l *latency) doubt(now time.Duration, v, usual float64) {
	l.until = now
	l.fades.Store(math.Float64bits(min(l.decay, float64(sentence)/math.Log(v/usual))))
	l.calm.Store(math.Float64bits(usual))
}
