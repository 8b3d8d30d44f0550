package check

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// hangs answers for "hung…" when its time is up, and at once for all others.
func hangs(ctx context.Context, url string) Result {
	if !strings.HasPrefix(url, "hung") {
		return Result{Status: skerry.Passing, Output: "fine"}
	}
	<-ctx.Done()
	return Result{Status: skerry.Critical, Output: "timed out"}
}

// Whatever hangs, however many of them: another service's server that dies is seen
// critical within an interval, and so is another server of the same service.
func TestHungChecksDelayNobodyElse(t *testing.T) {
	for name, tt := range map[string]struct {
		n       int
		service func(i int) string
		url     func(i int) string
		timeout time.Duration
		victim  string        // its service
		within  time.Duration // its timeout
	}{
		"one service, one server":         {1000, same("hog"), path, 10 * time.Minute, "web", 0},
		"one service, many servers":       {1000, same("hog"), host, 10 * time.Minute, "web", 0},
		"many services, one server":       {1000, each, path, 10 * time.Minute, "web", 0},
		"many services, many servers":     {1000, each, host, 10 * time.Minute, "web", 0},
		"another server of the service":   {1000, same("hog"), path, 10 * time.Minute, "hog", 0},
		"a victim that may be slow too":   {1000, same("hog"), path, 10 * time.Minute, "web", 10 * time.Minute},
		"the node's checks":               {1000, same(""), host, 10 * time.Minute, "web", 0},
		"a few services, default timeout": {200, func(i int) string { return fmt.Sprint("hog", i%4) }, path, 0, "web", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead atomic.Bool
				g := newRig(t, func(ctx context.Context, url string) Result {
					if url == "victim" && dead.Load() {
						return Result{Status: skerry.Critical, Output: "refused"}
					}
					return hangs(ctx, url)
				})
				for i := range tt.n {
					g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: tt.url(i), Interval: 10 * time.Second, Timeout: tt.timeout}, State{Service: tt.service(i)})
				}
				g.start(t, "victim", skerry.CheckDefinition{HTTP: "victim", Interval: time.Second, Timeout: tt.within}, State{Service: tt.victim})
				pass(5 * time.Second)
				g.want(t, "victim passing fine")
				for range 30 { // over the second and third turns of those that hang
					dead.Store(true)
					pass(1100 * time.Millisecond)
					g.wantLast(t, "victim critical refused")
					dead.Store(false)
					pass(1100 * time.Millisecond)
					g.wantLast(t, "victim passing fine")
					pass(3 * time.Second)
				}
			})
		})
	}
}

func same(s string) func(int) string { return func(int) string { return s } }
func each(i int) string              { return fmt.Sprint("service", i) }
func host(i int) string              { return fmt.Sprint("hung", i) }
func path(i int) string              { return fmt.Sprint("hung/", i) }

// wantLast wants the last report of the check "victim" to be this.
func (g *rig) wantLast(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	last := "nothing"
	for _, r := range g.reports {
		if strings.HasPrefix(r, "victim ") {
			last = r
		}
	}
	if last != want {
		t.Fatalf("the last report is %q, want %q", last, want)
	}
}

// What hangs gets its turns too: all of it is seen critical in the end.
func TestHungChecksAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, hangs)
		const n = 1000
		for i := range n {
			g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: path(i), Interval: time.Second, Timeout: 5 * time.Second}, State{Service: "hog"})
		}
		// Half of 256 runners at first, half of that once they are known to be slow.
		pass(n / 64 * 6 * time.Second)
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.reports) != n {
			t.Errorf("%d of %d checks were reported", len(g.reports), n)
		}
	})
}

// Targets that came and went while they could not run leave nothing.
func TestQueuesAreLeftEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, hangs, func(c *Config) { c.MaxParallel = 4 })
		for round := range 3 {
			for i := range 100 {
				g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: path(i), Interval: time.Second, Timeout: time.Minute}, State{Service: fmt.Sprint("s", i%7, round)})
			}
			pass(time.Second)
		}
		for i := range 100 {
			g.Stop(fmt.Sprint(i))
		}
		synctest.Wait()
		q := g.queues
		if q.waiting != 0 || q.running != 0 || len(q.shares) != 0 {
			t.Errorf("%d wait, %d run, %d shares are left", q.waiting, q.running, len(q.shares))
		}
		for i := range q.classes {
			if c := &q.classes[i]; c.running != 0 || c.ring.Len() != 0 || len(c.services) != 0 {
				t.Errorf("class %d: %d run, %d services are left", i, c.running, c.ring.Len())
			}
		}
	})
}

// A run is as long as its definition says, also above the interval, and up to ten
// minutes; the next one waits for its end.
func TestTimeoutKeepsItsValue(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		0: 10 * time.Second, 3 * time.Second: 3 * time.Second, 2 * time.Minute: 2 * time.Minute,
		10 * time.Minute: 10 * time.Minute, 11 * time.Minute: 10 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			took := make(chan time.Duration, 100)
			g := newRig(t, func(ctx context.Context, url string) Result {
				began := time.Now()
				<-ctx.Done()
				took <- time.Since(began)
				return Result{Status: skerry.Critical}
			})
			g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Second, Timeout: asked}, State{})
			if got := <-took; got != want {
				t.Errorf("a timeout of %v ends the run after %v, want %v", asked, got, want)
			}
			pass(want / 2)
			if n := g.ran(); n > 2 {
				t.Errorf("a timeout of %v: %d runs began, the second is not over yet", asked, n)
			}
		})
	}
}
