package lb

import (
	"fmt"
	"math/bits"
	"time"
)

// The rules by which an instance is taken out and let in again. One good probe
// would not do: an instance that fails half of its calls passes it every other time.
const (
	consecutiveFailures = 3
	// A caller that seldom calls an instance must decide by few calls: old successes do
	// not count.
	lastCalls, lastFailures = 5, 3
	lastBits                = 1<<lastCalls - 1
	windowCalls             = 20 // the last calls that are looked at
	windowBits              = 1<<windowCalls - 1
	firstOut                = time.Second
	outJitter               = .25
	goodProbes              = 3
	probeEvery              = 200 * time.Millisecond
	rampAfterProbes         = 5 * time.Second
	// An instance of whose calls a fifth fails within relapseWithin of being let in is out
	// again, for twice as long: after two failures the first time, and one from then on,
	// when its probes have been wrong before.
	relapseCalls  = 5 // a failure
	relapseWithin = 30 * time.Second
	// probeLost is when a probe without an answer counts as failed.
	probeLost = 10 * time.Second
)

// Cause is why an instance was taken out.
type Cause string

// The causes.
const (
	Consecutive Cause = "consecutive_failures" // calls failed one after another
	Rate        Cause = "failure_rate"         // too many of the last calls failed
	Relapse     Cause = "relapse"              // calls failed again soon after it was let in
	NoAnswer    Cause = "no_answer"            // somebody found it not to answer: [Balancer.Eject]
)

// change is a change of an instance's standing.
type change uint8

const (
	unchanged change = iota
	wentOut
	cameIn
	moved // the time of its next probe
)

// standing records whether an instance is in.
type standing struct {
	out    bool
	cause  Cause         // why it was taken out last
	reason string        // the same in words
	ejects uint64        // how often it was
	max    time.Duration // the longest time out, jitter included
	random func() float64

	window      uint32 // a bit for each of the last calls, 1 for a failure
	seen        int    // how many of them there are
	consecutive int

	times   int           // taken out, in this illness
	probeAt time.Duration // when it may be probed, if it is out
	good    int           // good probes in a row
	letIn   time.Duration
	wasOut  bool
	since   int // failures since it was let in
	calls   int // in that time
}

// verdict is why an instance is to be taken out; the zero value is no reason.
type verdict struct {
	cause      Cause
	failed, of int     // calls
	lately     float64 // which part of the last few failed
}

// worse is how much more often than the others' an instance's calls must fail: failures
// that are the same everywhere are the fault of the caller or the load, and the remaining
// instances would have to take its calls.
const worse = 2

// othersAnswer is the part of the other instances' calls of which no more may fail where
// a single silence is a reason.
const othersAnswer = .2

// silence is for how long the others are looked back at where an instance is said not to
// answer.
const silence = time.Second

func (v verdict) reason() string {
	switch v.cause {
	case Consecutive:
		return fmt.Sprintf("%d calls in a row failed", v.failed)
	case Relapse:
		return fmt.Sprintf("%d of its first %d calls failed after its return", v.failed, v.of)
	}
	return fmt.Sprintf("%d of the last %d calls failed", v.failed, v.of)
}

// called takes the result of an ordinary call, and returns whether it is a reason to take
// the instance out.
func (s *standing) called(now time.Duration, r Result) verdict {
	if r == Neutral || r == Pushback || s.out {
		return verdict{}
	}
	s.calls++
	s.window = s.window << 1 & windowBits
	s.seen = min(s.seen+1, windowCalls)
	if r == OK {
		s.consecutive = 0
		return verdict{}
	}
	s.window |= 1
	s.consecutive++
	s.since++
	lately, failed := bits.OnesCount32(s.window&lastBits), bits.OnesCount32(s.window)
	few := min(s.seen, lastCalls)
	share := float64(lately) / float64(few)
	switch {
	case s.consecutive >= consecutiveFailures:
		return verdict{Consecutive, s.consecutive, s.consecutive, share}
	case lately >= lastFailures:
		return verdict{Rate, lately, few, share}
	case s.seen >= 10 && failed*10 >= s.seen*3:
		return verdict{Rate, failed, s.seen, share}
	case s.relapse(now) && s.since >= max(1, 3-s.times) && s.calls <= relapseCalls*s.since:
		return verdict{Relapse, s.since, s.calls, share}
	}
	return verdict{}
}

func (s *standing) relapse(now time.Duration) bool { return s.wasOut && now-s.letIn < relapseWithin }

// eject takes the instance out if it is in.
func (s *standing) eject(now time.Duration, cause Cause, reason string) change {
	if s.out {
		return unchanged
	}
	if !s.relapse(now) {
		s.times = 0
	}
	s.cause, s.reason = cause, reason
	s.ejects++
	s.takeOut(now)
	return wentOut
}

func (s *standing) takeOut(now time.Duration) {
	d := min(float64(firstOut<<min(s.times, 30)), float64(s.max)/(1+outJitter))
	s.times++
	s.out, s.good = true, 0
	s.probeAt = now + time.Duration(d*(1-outJitter+2*outJitter*s.random()))
}

// due reports whether a probe may begin, and lets no other begin until it is lost.
func (s *standing) due(now time.Duration) bool {
	if !s.out || now < s.probeAt {
		return false
	}
	s.probeAt = now + probeLost
	return true
}

// probed takes the result of a probe in.
func (s *standing) probed(now time.Duration, ok bool) change {
	if !s.out {
		return unchanged
	}
	if !ok {
		s.takeOut(now)
		return moved
	}
	if s.good++; s.good < goodProbes {
		s.probeAt = now + probeEvery
		return moved
	}
	s.out, s.wasOut, s.letIn = false, true, now
	s.window, s.seen, s.consecutive, s.since, s.calls = 0, 0, 0, 0, 0
	return cameIn
}
