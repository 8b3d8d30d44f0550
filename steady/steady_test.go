package steady

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestStalls(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		gaps []time.Duration
		want time.Duration
	}{
		{"no tick", nil, 0},
		{"on time", []time.Duration{time.Second, time.Second}, 0},
		{"early", []time.Duration{time.Millisecond, time.Millisecond}, 0},
		{"late at the limit", []time.Duration{2500 * time.Millisecond}, 0},
		{"a stall", []time.Duration{2501 * time.Millisecond}, 1501 * time.Millisecond},
		{"two stalls", []time.Duration{time.Minute, time.Second, time.Hour}, 59*time.Second + time.Hour - time.Second},
		{"backwards", []time.Duration{time.Second, -time.Hour, time.Second}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c Clock
			now := t0
			c.Observe(now, time.Second)
			for _, g := range tt.gaps {
				now = now.Add(g)
				c.Observe(now, time.Second)
			}
			if got := c.Stalled(); got != tt.want {
				t.Errorf("Stalled() = %v, want %v", got, tt.want)
			}
			if got := c.Effective(now); !got.Equal(now.Add(-tt.want)) {
				t.Errorf("Effective(%v) = %v", now, got)
			}
		})
	}
}

func TestNowStandsStillInAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clock
		c.Observe(time.Now(), time.Second)
		before := c.Now()
		<-time.After(time.Minute)
		c.Observe(time.Now(), time.Second)
		if d := c.Now().Sub(before); d != time.Second {
			t.Errorf("a minute's stall counts %v, want the second that was expected", d)
		}
	})
}

func TestOneStallIsCountedOnce(t *testing.T) {
	var c Clock
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.Observe(t0, time.Second)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { c.Observe(t0.Add(time.Minute), time.Second) })
	}
	wg.Wait()
	if got := c.Stalled(); got != 59*time.Second {
		t.Errorf("Stalled() = %v, want 59s", got)
	}
}
