package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

// rig is a Runner whose HTTP checks are answered by probe, with what it reported.
type rig struct {
	*Runner
	mu      sync.Mutex
	reports []string
	runs    []time.Duration // of each probe's start, since the rig's
	stalled atomic.Int64
}

// stall lets the Runner's time go by without its running.
func (g *rig) stall(d time.Duration) { g.stalled.Add(int64(d)) }

type probeFunc func(ctx context.Context) Result

func (f probeFunc) Check(ctx context.Context) Result { return f(ctx) }

func newRig(t *testing.T, probe func(ctx context.Context, url string) Result, change ...func(*Config)) *rig {
	t.Helper()
	g := &rig{}
	start := time.Now()
	kinds := Table{
		{
			Name: "http", Timeout: 10 * time.Second,
			Peers: func(d *skerry.CheckDefinition) []string {
				host, _, _ := strings.Cut(d.HTTP, "/")
				return []string{host}
			},
			Matches: func(d *skerry.CheckDefinition) bool { return d.HTTP != "" },
			New: func(d *skerry.CheckDefinition) (Prober, error) {
				url := d.HTTP
				return probeFunc(func(ctx context.Context) Result {
					g.mu.Lock()
					g.runs = append(g.runs, time.Since(start))
					g.mu.Unlock()
					return probe(ctx, url)
				}), nil
			},
		},
		{Name: "ttl", Matches: func(d *skerry.CheckDefinition) bool { return d.TTL > 0 }},
	}
	cfg := Config{Kinds: kinds, Node: "node-1", Report: g.report}
	cfg.now = func() time.Time { return time.Now().Add(time.Duration(g.stalled.Load())) }
	for _, c := range change {
		c(&cfg)
	}
	g.Runner = NewRunner(cfg)
	t.Cleanup(g.Close)
	return g
}

func (g *rig) report(id string, r Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, fmt.Sprintf("%s %s %s", id, r.Status, r.Output))
}

// want waits until nothing moves and compares what was reported since the last want.
func (g *rig) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if fmt.Sprintf("%q", g.reports) != fmt.Sprintf("%q", want) {
		t.Errorf("reports:\n got %q\nwant %q", g.reports, want)
	}
	g.reports = nil
}

func (g *rig) ran() int {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.runs)
}

func (g *rig) start(t *testing.T, id string, def skerry.CheckDefinition, s State) {
	t.Helper()
	if err := g.Start(id, &def, s); err != nil {
		t.Fatalf("Start(%q): %v", id, err)
	}
}

func passes(context.Context, string) Result { return Result{Status: skerry.Passing, Output: "fine"} }

// pass lets d of the bubble's time go by.
func pass(d time.Duration) { <-time.After(d) }

func TestFirstRunIsAtOnceAndLaterOnesAreStaggered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: 10 * time.Second}, State{})
		g.start(t, "b", skerry.CheckDefinition{HTTP: "b", Interval: 10 * time.Second}, State{})
		synctest.Wait()
		g.mu.Lock()
		slices.Sort(g.reports) // the two are reported by different goroutines
		g.mu.Unlock()
		g.want(t, "a passing fine", "b passing fine")
		pass(time.Minute)
		g.want(t)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.runs[0] != 0 || g.runs[1] != 0 {
			t.Errorf("first runs at %v, want at once", g.runs)
		}
		gaps := make(map[time.Duration]int)
		for i, at := range g.runs[2:] {
			if i > 1 {
				gaps[at-g.runs[i]]++
			}
		}
		if len(gaps) != 1 || gaps[10*time.Second] == 0 {
			t.Errorf("gaps of one target's runs: %v, want 10s only (runs %v)", gaps, g.runs)
		}
		if g.runs[2] == g.runs[3] || g.runs[2] > 10*time.Second || g.runs[3] > 10*time.Second {
			t.Errorf("second runs at %v and %v, want two moments within the interval", g.runs[2], g.runs[3])
		}
	})
}

func TestEqualTargetsAreProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		for i := range 10 {
			g.start(t, fmt.Sprint(i), skerry.CheckDefinition{ID: fmt.Sprint(i), Name: "n", HTTP: "a", Interval: time.Minute, SuccessBeforePassing: i % 2 * 2}, State{})
		}
		if n := g.ran(); n > 2 {
			t.Errorf("ten checks of one target made %d runs at once", n)
		}
		pass(2 * time.Minute)
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.reports) != 10 {
			t.Errorf("%d reports, want 10", len(g.reports))
		}
	})
}

func TestTargetEndsWithItsLastCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		def := skerry.CheckDefinition{HTTP: "a", Interval: time.Second}
		g.start(t, "a", def, State{})
		g.start(t, "b", def, State{})
		pass(10 * time.Second)
		g.Stop("a")
		before := g.ran()
		pass(10 * time.Second)
		if g.ran() == before {
			t.Error("no runs for the check that is left")
		}
		g.Stop("b")
		g.Stop("b")
		before = g.ran()
		pass(time.Minute)
		if n := g.ran(); n != before {
			t.Errorf("%d runs after the last check was stopped", n-before)
		}
		g.Runner.mu.Lock()
		defer g.Runner.mu.Unlock()
		if len(g.targets)+len(g.probes) != 0 {
			t.Errorf("%d targets and %d checks are left", len(g.targets), len(g.probes))
		}
	})
}

func TestRunsOfATargetNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under, most := 0, 0
		var mu sync.Mutex
		g := newRig(t, func(ctx context.Context, _ string) Result {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			pass(5 * time.Second)
			mu.Lock()
			under--
			mu.Unlock()
			return Result{Status: skerry.Passing, Output: ""}
		})
		for i := range 4 { // joins while the target is busy
			g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: "a", Interval: time.Second}, State{})
			pass(3 * time.Second)
		}
		pass(time.Minute)
		mu.Lock()
		if most != 1 {
			t.Errorf("%d runs at once", most)
		}
		mu.Unlock()
		if n := g.ran(); n < 8 {
			t.Errorf("%d runs in 72 s of 5 s each with a second between, want about 12", n)
		}
	})
}

func TestParallelRunsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := newRig(t, func(ctx context.Context, _ string) Result {
			<-release
			return Result{Status: skerry.Passing, Output: ""}
		}, func(c *Config) { c.MaxParallel = 3 })
		for i := range 10 {
			g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: fmt.Sprint("host", i), Interval: time.Hour}, State{Service: fmt.Sprint(i)})
		}
		if n := g.ran(); n != 3 {
			t.Errorf("%d runs at once, want 3", n)
		}
		close(release)
		if n := g.ran(); n != 10 {
			t.Errorf("%d runs in the end, want 10", n)
		}
	})
}

func TestRunEndsWithItsTimeoutAndWithItsCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(ctx context.Context, _ string) Result {
			<-ctx.Done()
			return Result{Status: skerry.Critical, Output: ctx.Err().Error()}
		})
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Hour, Timeout: 2 * time.Second}, State{})
		g.start(t, "default", skerry.CheckDefinition{HTTP: "b", Interval: time.Hour}, State{})
		g.start(t, "stopped", skerry.CheckDefinition{HTTP: "c", Interval: time.Hour}, State{})
		pass(2 * time.Second)
		g.want(t, "a critical context deadline exceeded")
		g.Stop("stopped")
		pass(8 * time.Second)
		g.want(t, "default critical context deadline exceeded")
	})
}

func TestResumesWithoutAReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, passes)
		g.start(t, "same", skerry.CheckDefinition{HTTP: "a", Interval: time.Second}, State{Result: Result{Status: skerry.Passing, Output: "fine"}})
		g.start(t, "defined", skerry.CheckDefinition{HTTP: "a", Interval: time.Second, Status: skerry.Passing}, State{Result: Result{Output: "fine"}})
		g.want(t)
		g.start(t, "other", skerry.CheckDefinition{HTTP: "b", Interval: time.Second}, State{Result: Result{Status: skerry.Passing, Output: "was"}})
		g.want(t, "other passing fine")
		g.start(t, "other", skerry.CheckDefinition{HTTP: "b", Interval: time.Second}, State{Result: Result{Status: skerry.Warning, Output: "again"}})
		pass(MinInterval)
		g.want(t, "other passing fine")
	})
}

func TestStallDoesNotFailAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *rig
		n := 0
		g = newRig(t, func(ctx context.Context, _ string) Result {
			if n++; n > 1 {
				return Result{Status: skerry.Passing, Output: "fine"}
			}
			g.stall(time.Minute)
			return Result{Status: skerry.Critical, Output: "timed out"}
		})
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Hour}, State{})
		g.want(t, "a passing fine")
		if g.ran() != 2 {
			t.Errorf("%d runs, want the one that the stall undid and another", g.ran())
		}
	})
}

func TestReportIsInOrderAndNeverTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *rig
		busy := 0
		g = newRig(t, passes, func(c *Config) {
			c.Report = func(id string, r Result) {
				g.mu.Lock()
				busy++
				if busy > 1 {
					t.Error("two Reports at once for one check")
				}
				g.mu.Unlock()
				pass(time.Second)
				g.mu.Lock()
				busy--
				g.mu.Unlock()
				g.report(id, r)
			}
		})
		g.start(t, "a", skerry.CheckDefinition{TTL: time.Hour}, State{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if _, err := g.Beat("a", skerry.Passing, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if last := g.reports[len(g.reports)-1]; last != "a passing "+g.ttls["a"].output {
			t.Errorf("the last report is %q, the state %q", last, g.ttls["a"].output)
		}
	})
}

func TestStopWaitsForTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *rig
		done := false
		g = newRig(t, passes, func(c *Config) {
			c.Report = func(string, Result) { pass(time.Second); done = true }
		})
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Second}, State{})
		synctest.Wait()
		g.Stop("a")
		if !done {
			t.Error("Stop returned while the check was reported")
		}
	})
}

func TestStartAfterClose(t *testing.T) {
	g := newRig(t, passes)
	g.Close()
	err := g.Start("a", &skerry.CheckDefinition{TTL: time.Second}, State{})
	if skerry.KindOf(err) != skerry.Unavailable {
		t.Errorf("Start after Close: %v", err)
	}
	if err := g.Start("a", &skerry.CheckDefinition{}, State{}); skerry.KindOf(err) != skerry.Invalid {
		t.Errorf("Start of nothing: %v", err)
	}
}
