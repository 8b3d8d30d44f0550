package lb

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// unknownCost is the latency that an instance without an answer is judged by:
	// low, so that it is tried, until its first call is out: then high, so that no
	// flood follows it before there is an answer.
	unknownCost = time.Millisecond
	untriedCost = time.Second
	// leastLatency is the least that a latency counts as: where the calls are few, or
	// streams, only the calls in flight matter, not the age of the last one.
	leastLatency = 10 * time.Microsecond
	successShare = .1  // of the last call in the success rate
	leastSuccess = .05 // the least that a success rate counts as
	none         = int64(math.MaxInt64)
)

// stat is the statistics of an instance. The fields that cost reads are atomic, so that
// picks take no lock; changes hold mu.
type stat struct {
	key string

	latency latency
	success atomic.Uint64 // bits of a float64: EWMA of 0 and 1
	flying  atomic.Int64  // calls without an answer
	oldest  atomic.Int64  // when the oldest of them began, else none
	tried   atomic.Bool   // a call has ended
	letIn   atomic.Int64  // when it was let in again, else 0
	heard   atomic.Int64  // when it has answered last
	lately  atomic.Uint64 // how many of the last few calls failed, and in the lower half how many there were

	mu          sync.Mutex
	first, last *Call         // the calls without an answer, oldest first
	failed      time.Duration // when a call failed last
	standing    standing
	ended       [Neutral + 1]uint64 // calls by how they ended
	recent      float64             // calls ended, each counting less with time, at counted
	counted     time.Duration
}

// shareOver is the time over which shares of the calls are measured.
const shareOver = time.Minute

// traffic returns how many calls there were of late. Called with mu held.
func (s *stat) traffic(now time.Duration) float64 {
	return s.recent * math.Exp(-float64(max(now-s.counted, 0))/float64(shareOver))
}

func newStat(key string, decay time.Duration) *stat {
	s := &stat{key: key, latency: latency{decay: float64(decay)}}
	s.oldest.Store(none)
	s.success.Store(math.Float64bits(1))
	return s
}

// cost is the cost of the next call to an instance of this weight; less is better.
func (s *stat) cost(now time.Duration, weight float64) float64 {
	flying := float64(s.flying.Load()) / weight
	latency := max(s.latency.read(now), float64(leastLatency))
	if oldest := s.oldest.Load(); oldest != none {
		latency = max(latency, float64(int64(now)-oldest))
	}
	if !s.tried.Load() {
		least := unknownCost
		if flying > 0 {
			least = untriedCost
		}
		latency = max(latency, float64(least))
	}
	success := max(math.Float64frombits(s.success.Load()), leastSuccess)
	return latency * (flying + 1) / (success * success)
}

// begin counts a call in.
func (s *stat) begin(c *Call) {
	s.flying.Add(1)
	if c.stream {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.prev = s.last; c.prev == nil {
		s.first = c
		s.oldest.Store(int64(c.began))
	} else {
		c.prev.next = c
	}
	s.last = c
}

// end counts a call out and takes its result in. It returns the change of the instance's
// standing.
func (s *stat) end(c *Call, now time.Duration, r Result) change {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying.Add(-1)
	if s.ended[r]++; r == OK {
		s.heard.Store(int64(now))
	}
	s.recent, s.counted = s.traffic(now)+1, now
	if !c.stream {
		s.unlink(c)
		s.latency.observe(now, now-c.began, r)
		if r != Neutral {
			s.tried.Store(true)
		}
	}
	s.judge(r)
	if c.probe {
		return s.standing.probed(now, r != Failed)
	}
	before := s.failed
	if r == Failed {
		s.failed = now
	}
	v := s.standing.called(now, r)
	s.lately.Store(uint64(bits.OnesCount32(s.standing.window&lastBits))<<32 | uint64(min(s.standing.seen, lastCalls)))
	if v.cause == "" {
		return unchanged
	}
	if failing, answer := c.b.elsewhere(s, before); !answer || v.lately < worse*failing {
		return unchanged
	}
	return s.standing.eject(now, v.cause, v.reason())
}

func (s *stat) unlink(c *Call) {
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	if s.first == nil {
		s.oldest.Store(none)
	} else {
		s.oldest.Store(int64(s.first.began))
	}
}

// judge takes in how a call ended. Called with mu held.
func (s *stat) judge(r Result) {
	if r == Neutral {
		return
	}
	var good float64
	if r == OK {
		good = 1
	}
	success := math.Float64frombits(s.success.Load())
	s.success.Store(math.Float64bits(success + successShare*(good-success)))
}
