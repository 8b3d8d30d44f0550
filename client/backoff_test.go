package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client"
)

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var longest, first time.Duration
		for range 100 {
			var b client.Backoff
			for n := range 10 {
				began := time.Now()
				b.Wait(t.Context())
				waited := time.Since(began)
				if n == 0 {
					first = max(first, waited)
				}
				longest = max(longest, waited)
			}
			b.Reset()
			began := time.Now()
			if b.Wait(t.Context()); time.Since(began) > 100*time.Millisecond {
				t.Errorf("after a success it waits %v", time.Since(began))
			}
		}
		if first > 100*time.Millisecond || longest > 5*time.Second || longest < 4*time.Second {
			t.Errorf("waits %v at first, %v at most; want up to 100 ms and 5 s", first, longest)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		b := client.Backoff{}
		if b.Wait(ctx); time.Since(began) > 0 {
			t.Error("it waits for nobody")
		}
	})
}
