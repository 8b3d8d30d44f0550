package prequal

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/client/lb"
)

// Servers are asked, a few at once, each within its time; one that does not answer
// stops nobody else's answer.
func TestAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		var now, most int
		asked := map[string]int{}
		a := NewAsker(func() time.Duration { return time.Since(began) }, func(ctx context.Context, n lb.Node) (lb.Load, error) {
			mu.Lock()
			now++
			most = max(most, now)
			asked[n.Key]++
			mu.Unlock()
			defer func() { mu.Lock(); now--; mu.Unlock() }()
			if n.Key == "node-0" {
				<-ctx.Done()
				return lb.Load{}, ctx.Err()
			}
			time.Sleep(100 * time.Millisecond)
			return lb.Load{InFlight: 1, Latency: time.Millisecond}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		a.Start(ctx, &done)
		defer done.Wait()
		defer cancel()
		picker := lb.New(lb.Options{Policy: lb.Prequal})
		var nodes []lb.Node
		for i := range 40 {
			nodes = append(nodes, lb.Node{Key: fmt.Sprint("node-", i)})
		}
		picker.Update(0, nodes)
		for range 2000 {
			a.Wonder(picker)
			time.Sleep(time.Millisecond)
		}
		a.Wonder(lb.New(lb.Options{})) // asks nobody
		time.Sleep(2 * within)
		mu.Lock()
		defer mu.Unlock()
		if most > atOnce || len(asked) < len(nodes)/2 || now != 0 {
			t.Errorf("%d of %d were asked, %d at once, %d still are", len(asked), len(nodes), most, now)
		}
	})
}

func TestLoad(t *testing.T) {
	if got, err := Load(3, .25); err != nil || got != (lb.Load{InFlight: 3, Latency: 250 * time.Millisecond}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][2]float64{{-1, 0}, {0, -1}, {1e9, 0}, {0, 1e6}, {math.NaN(), 0}, {0, math.NaN()}, {math.Inf(1), 0}} {
		if got, err := Load(bad[0], bad[1]); err == nil {
			t.Errorf("%v: %+v", bad, got)
		}
	}
}
