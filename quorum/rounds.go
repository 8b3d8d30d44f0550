package quorum

import (
	"context"
	"sync"
)

// rounds lets many callers share one question to the majority: callers that come during
// one take part in the next, since the answer must be newer than the question.
type rounds struct {
	round func(context.Context) error

	mu      sync.Mutex
	running bool
	next    *party
}

type party struct {
	done chan struct{}
	err  error
}

// join returns when a round that began after the call has ended.
func (r *rounds) join(ctx context.Context) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &party{done: make(chan struct{})}
	}
	p := r.next
	if !r.running {
		r.running = true
		go r.run()
	}
	r.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return wrap(ctx.Err())
	}
}

// run makes rounds as long as somebody waits for one.
func (r *rounds) run() {
	for {
		r.mu.Lock()
		p := r.next
		r.next = nil
		if p == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		p.err = r.round(ctx)
		cancel()
		close(p.done)
	}
}
