package check

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSlotsComeInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var h slots[int]
		var want []int64
		for i := range rng.IntN(60) {
			h.push(rng.Int64N(50), i)
		}
		if len(h) > 0 {
			h.postpone(h[0].at + rng.Int64N(50))
		}
		drop := rng.Int64N(50)
		h.sweep(func(s slot[int]) bool { return s.at != drop })
		for _, s := range h {
			want = append(want, s.at)
		}
		slices.Sort(want)
		var got []int64
		for len(h) > 0 {
			got = append(got, h.pop().at)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
