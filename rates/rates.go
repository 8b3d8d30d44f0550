// Package rates limits by address how often something may happen.
package rates

import (
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// Rates is a limit for each address. Its methods may be called at once.
type Rates struct {
	limit rate.Limit
	burst int

	mu     sync.Mutex
	byAddr map[netip.Addr]*rate.Limiter
}

// most bounds the remembered addresses; beyond it all are forgotten.
const most = 100_000

// New returns a limit per second, with a burst of two seconds; 0: there is none.
func New(perSecond float64) *Rates {
	limit := rate.Limit(perSecond)
	if perSecond <= 0 {
		limit = rate.Inf
	}
	return &Rates{limit: limit, burst: int(2*max(perSecond, 0)) + 1, byAddr: map[netip.Addr]*rate.Limiter{}}
}

// Allow reports whether it may happen once more now for an address, host:port. One that is not understood has no limit.
func (r *Rates) Allow(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return true
	}
	a := ap.Addr().Unmap()
	r.mu.Lock()
	l := r.byAddr[a]
	if l == nil {
		if len(r.byAddr) >= most {
			clear(r.byAddr)
		}
		l = rate.NewLimiter(r.limit, r.burst)
		r.byAddr[a] = l
	}
	r.mu.Unlock()
	return l.Allow()
}
