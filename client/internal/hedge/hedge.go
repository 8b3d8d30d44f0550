// Package hedge sends a call twice when its first answer is late.
package hedge

import (
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
// time and the budget has room. The first good answer counts, else the last; what the
// other brings, at once or later, is dropped.
func Do[A any](after time.Duration, budget *lb.Budget, call func(again bool) A, good func(A) bool, drop func(A)) A {
	budget.Earn()
	answers := make(chan A, 2)
	start := func(again bool) {
		go func() { answers <- call(again) }()
	}
	start(false)
	flying := 1
	late := time.NewTimer(after)
	defer late.Stop()
	for {
		select {
		case a := <-answers:
			flying--
			if flying > 0 && !good(a) {
				drop(a)
				continue
			}
			if flying > 0 {
				go func() { drop(<-answers) }()
			}
			return a
		case <-late.C:
			if budget.Spend() {
				start(true)
				flying++
			}
		}
	}
}
