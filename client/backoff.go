package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// Backoff paces the retries of a [Source]: with full jitter, so that clients that lost
// the same server do not return together, up to 100 ms at first and twice as long each
// time, 5 s at most. The zero value is ready.
type Backoff struct{ most time.Duration }

// Wait waits, or until ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	b.most = min(max(2*b.most, leastRetry), mostRetry)
	timer := time.NewTimer(rand.N(b.most))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.most = 0 }
