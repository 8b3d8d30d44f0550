package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/skerryhq/skerry"
)

// figures gathers what a store shows: counters and gauges by name and label,
// histograms as name_count and name_sum.
func figures(t *testing.T, e *Eventual) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "skerry_quorum_")
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				key += "/" + l.GetValue()
			}
			switch f.GetType() {
			case dto.MetricType_HISTOGRAM:
				out[key+"_count"] = float64(m.GetHistogram().GetSampleCount())
				out[key+"_sum"] = m.GetHistogram().GetSampleSum()
			case dto.MetricType_COUNTER:
				out[key] = m.GetCounter().GetValue()
			default:
				out[key] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func opened(t *testing.T, cfg Embedded) *Eventual {
	t.Helper()
	s := open(t, cfg)
	e := Eventually(nil, func(context.Context) (*Store, error) { return s, nil }, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { e.Close() })
	<-e.ready
	return e
}

func TestMetricsMoveWithWhatHappens(t *testing.T) {
	e := opened(t, Embedded{Dir: t.TempDir()})
	before := figures(t, e)
	if before["state/open"] != 1 || before["file_bytes"] <= 0 || before["file_used_bytes"] <= 0 || before["quota_bytes"] != DefaultQuota {
		t.Errorf("an open store: %v", before)
	}
	var all sync.WaitGroup
	for i := range 65 {
		all.Go(func() {
			if err := put(t, e.store.Load(), fmt.Sprint("k", i), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// Another change comes between the reading and the commit.
	s, first := e.store.Load(), true
	_, err := s.Update(t.Context(), func(tx skerry.Tx) error {
		tx.Get("read")
		if first {
			first = false
			if err := put(t, s, "read", nil); err != nil {
				return err
			}
		}
		tx.Put("written", nil, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := figures(t, e)
	for name, least := range map[string]float64{
		"commits_total/made": 67, "commits_total/conflict": 1, "commit_seconds_count": 68, "commit_seconds_sum": 1e-6,
		"batch_commits_sum": 68, "batch_commits_count": 1, "syncs_total": 1, "round_seconds_count": 1, "index": 1,
	} {
		if moved := after[name] - before[name]; moved < least {
			t.Errorf("%s moved by %v, not %v", name, moved, least)
		}
	}
	if n := after["batch_commits_count"] - before["batch_commits_count"]; n > after["batch_commits_sum"]-before["batch_commits_sum"] {
		t.Errorf("%v transactions for %v commits", n, after["batch_commits_sum"])
	}
}

func TestMetricsTellHowTheStoreIs(t *testing.T) {
	full := opened(t, Embedded{Dir: t.TempDir(), Quota: 16 << 20})
	fill(t, full.store.Load(), 1000)
	failed := Eventually(nil, func(context.Context) (*Store, error) { return nil, errors.New("no") }, slog.New(slog.DiscardHandler))
	defer failed.Close()
	for ready, err := failed.Ready(); !ready && err == nil; ready, err = failed.Ready() {
		if t.Context().Err() != nil {
			t.Fatal("no error")
		}
	}
	opening := Eventually(nil, func(ctx context.Context) (*Store, error) { <-ctx.Done(); return nil, ctx.Err() }, slog.New(slog.DiscardHandler))
	defer opening.Close()
	stopped := opened(t, Embedded{Dir: t.TempDir()})
	var ended sync.WaitGroup
	ended.Go(func() { stopped.store.Load().member.dead.of(errors.New("the test says so")) })
	ended.Wait()
	for want, e := range map[state]*Eventual{
		stateFull: full, stateFailed: failed, stateOpening: opening, stateStopped: stopped, stateNone: Never("none is configured"),
	} {
		got := figures(t, e)
		for _, s := range states {
			if is := got["state/"+string(s)] == 1; is != (s == want) {
				t.Errorf("a store that is %s shows state %s: %v", want, s, is)
			}
		}
	}
	if got := figures(t, full); got["commits_total/failed"] < 1 {
		t.Errorf("refused commits are not counted: %v", got)
	}
}

func TestMetricsOfMembers(t *testing.T) {
	configs := peersFor(t, 3)
	stores := openAll(t, configs[1:]...)
	e := Eventually(nil, func(ctx context.Context) (*Store, error) { return Open(ctx, configs[0]) }, configs[0].Log)
	t.Cleanup(func() { e.Close() })
	<-e.ready
	if err := put(t, stores[0], "k", nil); err != nil {
		t.Fatal(err)
	}
	got := figures(t, e)
	if got["members/yes"] != 3 || got["members/no"] != 0 {
		t.Errorf("three members: %v", got)
	}
	for _, name := range []string{"leader", "leader_silent_seconds", "unanswered_total/made", "unanswered_total/again"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	alone := figures(t, opened(t, Embedded{Dir: t.TempDir()}))
	if _, ok := alone["members/yes"]; ok {
		t.Error("a member that cannot have others has figures of members")
	}
}
