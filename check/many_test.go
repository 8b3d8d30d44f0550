package check

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// TestManyProbes holds the promise that checks have no goroutine each.
func TestManyProbes(t *testing.T) {
	const n, parallel = 20_000, 16
	var reported, most atomic.Int64
	all := make(chan struct{})
	before := runtime.NumGoroutine()
	r := NewRunner(Config{
		Kinds: Table{{
			Name: "http", Timeout: time.Second,
			Matches: func(d *skerry.CheckDefinition) bool { return d.HTTP != "" },
			New: func(d *skerry.CheckDefinition) (Prober, error) {
				return probeFunc(func(context.Context) Result {
					most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
					return Result{Status: skerry.Passing, Output: "fine"}
				}), nil
			},
		}},
		MaxParallel: parallel,
		Report: func(string, Result) {
			if reported.Add(1) == n {
				close(all)
			}
		},
	})
	defer r.Close()
	for i := range n {
		if err := r.Start(fmt.Sprint(i), &skerry.CheckDefinition{HTTP: fmt.Sprint("http://", i), Interval: time.Hour}, State{}); err != nil {
			t.Fatal(err)
		}
	}
	<-all
	// Workers that just ended may still be counted beside those that follow them.
	if extra := int(most.Load()) - before; extra > 4*parallel {
		t.Errorf("%d goroutines for %d checks, want about %d probes and the scheduler", extra, n, parallel)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	done := make(chan struct{})
	cfg := Config{
		Kinds: Table{{
			Name: "http", Timeout: time.Second,
			Matches: func(d *skerry.CheckDefinition) bool { return d.HTTP != "" },
			New: func(d *skerry.CheckDefinition) (Prober, error) {
				return probeFunc(func(context.Context) Result { return Result{Status: skerry.Warning, Output: "slow"} }), nil
			},
		}},
		Report:     func(string, Result) { close(done) },
		Registerer: reg,
	}
	r := NewRunner(cfg)
	if err := r.Start("a", &skerry.CheckDefinition{HTTP: "x", Interval: time.Hour}, State{}); err != nil {
		t.Fatal(err)
	}
	<-done
	families, err := reg.Gather()
	if err != nil || len(families) != 13 {
		t.Errorf("%d metrics are exported (%v), want 13", len(families), err)
	}
	for _, f := range families {
		if f.GetName() == "skerry_check_runs_total" && (len(f.Metric) != 1 || f.Metric[0].GetCounter().GetValue() != 1) {
			t.Errorf("runs are counted as %v", f.Metric)
		}
	}
	r.Close()
	if left, err := reg.Gather(); err != nil || len(left) != 0 {
		t.Errorf("%d metrics are left after Close (%v)", len(left), err)
	}
}

func BenchmarkStartProbe(b *testing.B) {
	k := Kind{
		Name: "http", Timeout: time.Second,
		Matches: func(d *skerry.CheckDefinition) bool { return d.HTTP != "" },
		New: func(d *skerry.CheckDefinition) (Prober, error) {
			return probeFunc(func(context.Context) Result { return Result{Status: skerry.Passing, Output: "fine"} }), nil
		},
	}
	r := NewRunner(Config{Kinds: Table{k}, Report: func(string, Result) {}})
	b.Cleanup(r.Close)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		id := fmt.Sprint(i)
		if err := r.Start(id, &skerry.CheckDefinition{HTTP: id, Interval: time.Hour}, State{}); err != nil {
			b.Fatal(err)
		}
	}
}
