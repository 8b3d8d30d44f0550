// Package readers knows the readers of services at one process: those that wait for a change, those that ask again and
// again, and the time for which resolvers keep answers. A drain counts them.
//
// It is pure: its clock is passed in.
package readers

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// asksWithin is for how long a reader that does not wait counts after its last question.
	asksWithin = time.Minute
	// waitsWithin is for how long a reader that waits counts: longer than any query waits.
	waitsWithin = 11 * time.Minute
	// A drain waits for a reader that asks again and again for pollGaps times the time between its last two questions,
	// between leastPoll and mostPoll, and for one that asked once for onceWithin.
	pollGaps   = 3
	leastPoll  = 2 * time.Second
	mostPoll   = 30 * time.Second
	onceWithin = 10 * time.Second
	// returnsWithin is how long a drain waits for a reader that waited, and has the change, to ask again.
	returnsWithin = 10 * time.Second
	// maxReaders bounds the readers of one service that are known, and maxServices the services.
	maxReaders  = 65_536
	maxServices = 10_000
)

// Readers implements skerry.Readers.
type Readers struct {
	now      func() time.Time
	services sync.Map // folded name → *service
	count    atomic.Int64
}

type service struct {
	resolved atomic.Int64 // Unix time in nanoseconds up to which a resolver may keep an answer

	mu      sync.Mutex
	readers map[uint64]reader
	swept   time.Time
	full    bool // there were more readers than are known
}

// reader is the state of one reader.
type reader struct {
	last    time.Time     // question or answer
	have    uint64        // the index of its last question that waits
	got     uint64        // the index of its last answer
	waits   bool          // it is one that waits
	waiting bool          // now
	gap     time.Duration // between its last two questions, if it does not wait; 0: it asked once
}

// New returns the readers of a process, which are none yet.
func New(now func() time.Time) *Readers { return &Readers{now: now} }

func (r *Readers) service(name string) *service {
	if s, ok := r.services.Load(name); ok {
		return s.(*service)
	}
	if r.count.Load() >= maxServices {
		return nil
	}
	s, was := r.services.LoadOrStore(name, &service{readers: map[uint64]reader{}})
	if !was {
		r.count.Add(1)
	}
	return s.(*service)
}

// Asked implements skerry.Readers.
func (r *Readers) Asked(name string, id, have uint64) {
	if s := r.service(name); s != nil {
		s.note(r.now(), id, have, true, true)
	}
}

// Served implements skerry.Readers.
func (r *Readers) Served(name string, id, index uint64, waited bool) {
	if s := r.service(name); s != nil {
		s.note(r.now(), id, index, waited, false)
	}
}

func (x *reader) serve(index uint64, waited bool, now time.Time) {
	if !waited && !x.last.IsZero() {
		x.gap = max(now.Sub(x.last), 1)
	}
	x.got, x.waits, x.waiting = index, waited, false
}

// Left implements skerry.Readers.
func (r *Readers) Left(name string, id uint64) {
	if s, ok := r.services.Load(name); ok {
		s := s.(*service)
		s.mu.Lock()
		delete(s.readers, id)
		s.mu.Unlock()
	}
}

// Resolved implements skerry.Readers.
func (r *Readers) Resolved(name string, ttl time.Duration) {
	if s := r.service(name); s != nil {
		until := r.now().Add(ttl).UnixNano()
		for was := s.resolved.Load(); was < until && !s.resolved.CompareAndSwap(was, until); {
			was = s.resolved.Load()
		}
	}
}

// note notes a question of a reader that waits, or an answer.
func (s *service) note(now time.Time, id, index uint64, waits, asks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, known := s.readers[id]
	if !known && len(s.readers) >= maxReaders && !s.sweep(now) {
		s.full = true
		return
	}
	switch {
	case asks:
		x.have, x.waits, x.waiting = index, true, true
	default:
		x.serve(index, waits, now)
	}
	x.last = now
	s.readers[id] = x
}

// Sweep forgets readers that have not been here for long. It is called now and then.
func (r *Readers) Sweep() {
	now := r.now()
	r.services.Range(func(name, v any) bool {
		s := v.(*service)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sweep(now)
		if len(s.readers) == 0 && s.resolved.Load() < now.UnixNano() {
			r.services.Delete(name)
			r.count.Add(-1)
		}
		return true
	})
}

// sweep reports whether there is room afterwards. It must be called with mu held.
func (s *service) sweep(now time.Time) bool {
	if now.Sub(s.swept) < time.Second {
		return false
	}
	s.swept = now
	for id, x := range s.readers {
		if x.old(now) {
			delete(s.readers, id)
		}
	}
	s.full = s.full && len(s.readers) >= maxReaders
	return len(s.readers) < maxReaders
}

// old reports whether a reader counts no more.
func (x *reader) old(now time.Time) bool {
	if x.waiting {
		return now.Sub(x.last) > waitsWithin
	}
	return now.Sub(x.last) > asksWithin
}

// Count is the count of the readers of one service since a change of it.
type Count struct {
	r       *Readers
	s       *service
	index   uint64
	began   time.Time
	pending map[uint64]struct{}
	acked   int
	gone    int
	full    bool
	keeps   time.Time // when resolvers have forgotten all answers of before the change
}

// Begin begins to count the readers of a service that may have a view of before an index.
func (r *Readers) Begin(name string, index uint64) *Count {
	c := &Count{r: r, index: index, began: r.now(), pending: map[uint64]struct{}{}}
	v, ok := r.services.Load(name)
	if !ok {
		return c
	}
	c.s = v.(*service)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.full, c.keeps = c.s.full, time.Unix(0, c.s.resolved.Load())
	for id, x := range c.s.readers {
		if !x.old(c.began) {
			c.pending[id] = struct{}{}
		}
	}
	return c
}

// Now returns the present count. resolving is the time until resolvers have forgotten answers of before the change.
func (c *Count) Now() (acked, pending, gone int, resolving time.Duration) {
	if c.s == nil {
		return 0, 0, 0, 0
	}
	now := c.r.now()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for id := range c.pending {
		x, known := c.s.readers[id]
		switch {
		case known && x.waits && x.have >= c.index, known && !x.waits && x.got >= c.index:
			c.acked++
		case !known, x.leftSince(now, c):
			c.gone++
		default:
			continue
		}
		delete(c.pending, id)
	}
	pending = len(c.pending)
	if c.full {
		pending++
	}
	return c.acked, pending, c.gone, max(c.keeps.Sub(now), 0)
}

// leftSince reports whether a reader asks no more.
func (x *reader) leftSince(now time.Time, c *Count) bool {
	switch {
	case x.waiting:
		return false
	case x.waits && x.got >= c.index:
		return now.Sub(x.last) > returnsWithin
	case x.waits:
		return now.Sub(c.began) > mostPoll // its answer crossed the change, and it did not ask again
	case x.gap == 0:
		return now.Sub(x.last) > onceWithin
	}
	return now.Sub(x.last) > min(max(pollGaps*x.gap, leastPoll), mostPoll)
}
