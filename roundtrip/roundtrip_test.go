package roundtrip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/serf/coordinate"
)

// world is servers and agents on a map, whose distances in milliseconds are round trips.
type world struct {
	mu    sync.Mutex
	where map[string][2]float64
	told  map[string]*coordinate.Coordinate
	tells map[string]int // how often each told another coordinate
	down  map[string]bool
	noise time.Duration // of measurements
}

func (w *world) trip(a, b string) time.Duration {
	p, q := w.where[a], w.where[b]
	return time.Duration(math.Hypot(p[0]-q[0], p[1]-q[1])*float64(time.Millisecond)) + 300*time.Microsecond
}

// servers are s1 to s3.
const servers = 3

func (w *world) meter(name string) *Meter {
	every := time.Minute
	if name[0] != 's' { // as agents have it
		every = 5 * time.Minute
	}
	return New(Config{
		Every: every, Log: slog.New(slog.DiscardHandler),
		Tell: func(_ context.Context, at *coordinate.Coordinate) (out []Server, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if at != nil && at != w.told[name] {
				w.told[name] = at
				w.tells[name]++
			}
			for i := range servers {
				if s := fmt.Sprint("s", i+1); s != name {
					out = append(out, Server{Name: s, Address: s, At: w.told[s]})
				}
			}
			return out, nil
		},
		Measure: func(_ context.Context, address string) (time.Duration, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.down[address] {
				return 0, errors.New("down")
			}
			return w.trip(name, address) + rand.N(w.noise+1), nil
		},
	})
}

func TestCoordinatesEstimateRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			where: map[string][2]float64{
				"s1": {0, 0}, "s2": {4, 0}, "s3": {0, 9}, // three zones
				"a1": {0.2, 0}, "b1": {0, 0.2}, "a2": {4, 0.2}, "a3": {0.2, 9},
			},
			told: map[string]*coordinate.Coordinate{}, tells: map[string]int{}, down: map[string]bool{},
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for name := range w.where {
			m := w.meter(name)
			running.Go(func() { m.Run(ctx) })
		}
		defer func() {
			stop()
			running.Wait()
		}()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		w.mu.Lock()
		for a := range w.where {
			for b := range w.where {
				if a == b {
					continue
				}
				got, want := w.told[a].DistanceTo(w.told[b]), w.trip(a, b)
				if math.Abs(float64(got-want)) > float64(want)/10+float64(time.Millisecond) {
					t.Errorf("from %s to %s: %v, want %v", a, b, got, want)
				}
			}
		}
		for agent, nearest := range map[string]string{"a1": "s1", "b1": "s1", "a2": "s2", "a3": "s3"} {
			for i := range servers {
				if s := fmt.Sprint("s", i+1); w.told[agent].DistanceTo(w.told[s]) < w.told[agent].DistanceTo(w.told[nearest]) {
					t.Errorf("%s is nearer to %s than to %s, which is in its zone", agent, s, nearest)
				}
			}
		}
		w.mu.Unlock()
	})
}

// An agent that does not move writes nothing, whatever its measurements vary, and when a server is gone it goes on with two.
func TestACoordinateThatStaysIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			where: map[string][2]float64{"s1": {0, 0}, "s2": {4, 0}, "s3": {0, 9}, "a1": {0.2, 0}},
			told:  map[string]*coordinate.Coordinate{}, tells: map[string]int{}, down: map[string]bool{}, noise: 100 * time.Microsecond,
		}
		for _, s := range []string{"s1", "s2", "s3"} {
			at := coordinate.NewCoordinate(coordinate.DefaultConfig())
			at.Vec[0], at.Vec[1], at.Error = w.where[s][0]/1000, w.where[s][1]/1000, 0.1
			w.told[s] = at
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		m := w.meter("a1")
		running.Go(func() { m.Run(ctx) })
		defer func() {
			stop()
			running.Wait()
		}()
		time.Sleep(30 * time.Minute)
		w.mu.Lock()
		before := w.tells["a1"]
		w.mu.Unlock()
		time.Sleep(10 * time.Hour)
		w.mu.Lock()
		if n := w.tells["a1"] - before; before == 0 || n > 3 {
			t.Errorf("%d coordinates were told in half an hour, and %d in ten hours of rest", before, n)
		}
		w.down["s3"] = true
		w.where["a1"] = [2]float64{3.8, 0} // it is carried to another zone
		w.mu.Unlock()
		time.Sleep(time.Hour)
		w.mu.Lock()
		defer w.mu.Unlock()
		if at := w.told["a1"]; at.DistanceTo(w.told["s2"]) > at.DistanceTo(w.told["s1"]) {
			t.Errorf("it is %v from s1 and %v from s2", at.DistanceTo(w.told["s1"]), at.DistanceTo(w.told["s2"]))
		}
	})
}

func TestNothingIsToldBeforeItIsMeasured(t *testing.T) {
	w := &world{where: map[string][2]float64{}, told: map[string]*coordinate.Coordinate{}, tells: map[string]int{}, down: map[string]bool{"s1": true, "s2": true, "s3": true}}
	m := w.meter("a")
	m.round(t.Context())
	m.round(t.Context())
	if w.told["a"] != nil {
		t.Errorf("told %v", w.told["a"])
	}
	w.down["s1"] = false
	if m.round(t.Context()); w.told["a"] == nil {
		t.Error("nothing is told after a measurement")
	}
}

// One slow answer does not move a process.
func TestAnOutlierIsNoDistance(t *testing.T) {
	m := New(Config{Log: slog.New(slog.DiscardHandler)})
	for _, ms := range []int{10, 11, 900, 9, 10} {
		m.note("s1", time.Duration(ms)*time.Millisecond)
	}
	if trip, ok := m.trip("s1"); !ok || trip != 10*time.Millisecond {
		t.Errorf("the round trip is %v", trip)
	}
}
