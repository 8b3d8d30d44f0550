package decided

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// figures gathers what a store shows, by name and label.
func figures(t *testing.T, s *Store, d *Decider) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(s, d))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()[len("skerry_"):]
			for _, l := range m.GetLabel() {
				key += "/" + l.GetValue()
			}
			out[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them is nil
		}
	}
	return out
}

func TestMetricsMoveWithWhatHappens(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		d := &Decider{Store: w.store, Self: "s1", Log: slog.New(slog.DiscardHandler)}
		shows := func(when string, want map[string]float64) {
			t.Helper()
			got := figures(t, w.store, d)
			for name, v := range want {
				if is, ok := got[name]; !ok || is != v {
					t.Errorf("%s: %s is %v, not %v", when, name, is, v)
				}
			}
		}
		shows("at first", map[string]float64{"decider": 0, "sessions": 0, "locks_held": 0, "snapshots_total/saved": 0})
		stop := w.decider(d)
		w.node("n2", skerry.Passing)
		byTTL, byCheck := w.session(skerry.Session{TTLText: "10s"}), w.session(skerry.Session{NodeChecks: []string{"c"}})
		byNode, byHand := w.session(skerry.Session{Node: "n2"}), w.session(skerry.Session{})
		w.lock("a", byTTL)
		w.lock("a", byHand)
		w.transact("b", byCheck)
		w.transact("b", byHand)
		_, err := w.store.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "c", Session: "none"}})
		if skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("a lock for no session: %v", err)
		}
		w.pass(time.Second) // the decider has seen n2
		shows("with locks", map[string]float64{"decider": 1, "sessions": 4, "locks_held": 2, "lock_delays": 0, "locks_total/taken": 2, "locks_total/refused": 3})
		w.store.DestroySession(t.Context(), byHand)
		w.store.DestroySession(t.Context(), byHand) // it is gone already
		w.node("n1", skerry.Critical)
		w.table.Withdraw("agent/n2")
		w.pass(time.Second)
		if w.lives(byNode) {
			t.Error("the session of a node that went lives")
		}
		w.pass(20 * time.Second)
		w.pass(time.Second)
		shows("after their end", map[string]float64{
			"sessions": 0, "locks_held": 0, "sessions_ended_total/destroyed": 1, "sessions_ended_total/check": 1,
			"sessions_ended_total/node": 1, "sessions_ended_total/ttl": 1, "lock_delays": 1,
		})
		saved := save(t, w.store)
		restore(t, w.store, saved)
		shows("after a snapshot", map[string]float64{
			"snapshots_total/saved": 1, "snapshots_total/restored": 1, "snapshot_bytes/saved": float64(len(saved)),
			"snapshot_bytes/restored": float64(len(saved)), "snapshot_timestamp_seconds/saved": float64(time.Now().Unix()),
		})
		stop()
	})
}

// decider runs d until the returned function is called.
func (w *world) decider(d *Decider) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// transact takes a lock within a transaction.
func (w *world) transact(key, session string) {
	w.t.Helper()
	op := skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: key, Session: session}}
	if _, _, err := w.store.Txn(w.t.Context(), []skerry.TxnOp{{Key: &op}}, nil); err != nil {
		w.t.Fatal(err)
	}
}
