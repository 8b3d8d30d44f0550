// Package hedge sends a call twice when its first answer is late.
package hedge

import (
	"context"
	"time"

	"github.com/skerryhq/skerry/client/lb"
)

// Hedges may be a twentieth of the calls, after the first ten.
const (
	Share = .05
	Most  = 10
)

// Budget returns a new budget for hedges.
func Budget() *lb.Budget { return lb.NewBudget(Share, Most) }

// Do makes a call, and makes it again beside the first if there is no answer after this
// time and the budget has room. The first good answer counts, else the last. The
// context of the other call ends then, and what it brings is dropped; that of the call
// whose answer counts ends with done, which must be called.
//
// Do calls prepare before each call, and runs the call that it returns in a goroutine of
// its own. The other call may still run after Do has returned, so it must not touch what
// belongs to the caller: prepare copies that.
func Do[A any](ctx context.Context, after time.Duration, budget *lb.Budget, prepare func(ctx context.Context, again bool) (call func() A), good func(A) bool, drop func(A)) (answer A, done context.CancelFunc) {
	budget.Earn()
	type leg struct {
		n      int
		answer A
	}
	legs := make(chan leg, 2)
	var cancels []context.CancelFunc
	start := func() {
		n := len(cancels)
		ctx, cancel := context.WithCancel(ctx)
		cancels = append(cancels, cancel)
		call := prepare(ctx, n > 0)
		go func() { legs <- leg{n, call()} }()
	}
	start()
	flying := 1
	late := time.NewTimer(after)
	defer late.Stop()
	for {
		select {
		case l := <-legs:
			flying--
			if flying > 0 && !good(l.answer) {
				cancels[l.n]()
				drop(l.answer)
				continue
			}
			if flying > 0 {
				cancels[1-l.n]()
				go func() { drop((<-legs).answer) }()
			}
			return l.answer, cancels[l.n]
		case <-late.C:
			if budget.Spend() {
				start()
				flying++
			}
		}
	}
}
