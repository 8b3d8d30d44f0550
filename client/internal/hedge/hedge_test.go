package hedge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// answer is what a leg brings, and when.
type answer struct {
	leg  string
	ctx  context.Context
	in   time.Duration
	good bool
}

func TestDo(t *testing.T) {
	const after = time.Second
	for _, tt := range []struct {
		name          string
		first, second answer
		want          string
		in            time.Duration
		dropped       []string
	}{
		{"in time", answer{in: after / 2, good: true}, answer{}, "first", after / 2, nil},
		{"bad in time", answer{in: after / 2}, answer{}, "first", after / 2, nil},
		{"the second is faster", answer{in: 4 * after, good: true}, answer{in: after, good: true}, "second", 2 * after, []string{"first"}},
		{"the first is faster", answer{in: 2 * after, good: true}, answer{in: 4 * after, good: true}, "first", 2 * after, []string{"second"}},
		{"the second is bad", answer{in: 4 * after, good: true}, answer{in: after}, "first", 4 * after, []string{"second"}},
		{"the first is bad", answer{in: 2 * after}, answer{in: 3 * after, good: true}, "second", 4 * after, []string{"first"}},
		{"both are bad", answer{in: 2 * after}, answer{in: 3 * after}, "second", 4 * after, []string{"first"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dropped []string
				began := time.Now()
				got, done := Do(t.Context(), after, Budget(), func(ctx context.Context, again bool) func() answer {
					a := tt.first
					a.leg = "first"
					if again {
						a = tt.second
						a.leg = "second"
					}
					a.ctx = ctx
					return func() answer {
						select {
						case <-time.After(a.in):
						case <-ctx.Done():
						}
						return a
					}
				}, func(a answer) bool { return a.good }, func(a answer) { dropped = append(dropped, a.leg) })
				if in := time.Since(began); got.leg != tt.want || in != tt.in {
					t.Errorf("the %s after %v, want the %s after %v", got.leg, in, tt.want, tt.in)
				}
				synctest.Wait() // the other is not waited for
				if len(dropped) != len(tt.dropped) || len(dropped) > 0 && dropped[0] != tt.dropped[0] {
					t.Errorf("dropped %q, want %q", dropped, tt.dropped)
				}
				if got.ctx.Err() != nil {
					t.Error("the context of what counts has ended")
				}
				if done(); got.ctx.Err() == nil {
					t.Error("the context of what counts does not end")
				}
			})
		})
	}
}

// When all answers are late, hedges stop at their budget.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 1000
		budget, sent := Budget(), make(chan bool, 2*calls)
		for range calls {
			_, done := Do(t.Context(), time.Millisecond, budget, func(ctx context.Context, again bool) func() bool {
				sent <- again
				return func() bool { time.Sleep(time.Second); return true }
			}, func(bool) bool { return true }, func(bool) {})
			done()
		}
		synctest.Wait()
		// Those saved up at first are full already, so their calls earn nothing.
		if got, most := len(sent)-calls, Most+calls*Share; float64(got) > most || float64(got) < most-1 {
			t.Errorf("%d hedges for %d calls, want %v", got, calls, most)
		}
	})
}
