package lb

import "sync"

// Budget bounds calls that are sent twice, so that they do not overload a service
// further: they may be a share of all calls.
type Budget struct {
	share, most float64

	mu     sync.Mutex
	tokens float64
}

// NewBudget returns a budget of this share of the calls, of which at most so many can
// be saved up; it begins with all of them.
func NewBudget(share, most float64) *Budget { return &Budget{share: share, most: most, tokens: most} }

// Earn counts a call.
func (b *Budget) Earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+b.share, b.most)
}

// Spend reports whether a call may be sent twice now, and counts it if so.
func (b *Budget) Spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
