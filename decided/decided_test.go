package decided_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// world is all parts over a catalog with one node, in fake time.
type world struct {
	t     *testing.T
	kv    *replicatest.Memory
	table *catalog.Table
	parts *decided.Parts
	seq   uint64
}

// inWorld runs f in a bubble of fake time. The parts do not run yet.
func inWorld(t *testing.T, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, kv: replicatest.NewMemory(), table: catalog.New(catalog.Config{FirstIndex: 1})}
		w.parts = decided.New(decided.Options{KV: w.kv, Catalog: w.table, Announcer: w.table, Self: "s1"})
		w.node("n1", skerry.Passing)
		f(w)
	})
}

// run runs the parts until stop is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { w.parts.Run(ctx); close(done) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// node announces a node with its serfHealth check and a check "c" of this status.
func (w *world) node(name string, status skerry.Health) {
	w.t.Helper()
	w.seq++
	_, err := w.table.Announce(skerry.Announcement{
		Owner: skerry.OwnerID("agent/" + name), Kind: skerry.AgentOwner, Version: skerry.Version{Epoch: 1, Seq: w.seq},
		Set: &skerry.Set{
			Node: &skerry.Node{Name: name, Address: "10.0.0.1"},
			Checks: []*skerry.Check{
				{ID: "c", Name: "c", Status: status},
				{ID: "serfHealth", Name: "serf", Status: skerry.Passing},
			},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) session(s skerry.Session) string {
	w.t.Helper()
	if s.Node == "" {
		s.Node = "n1"
	}
	id, err := w.parts.Sessions.CreateSession(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) lock(key, session string) bool {
	w.t.Helper()
	done, err := w.parts.Keys.Write(w.t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: key, Session: session}})
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) lives(id string) bool {
	s, err := w.parts.Sessions.Session(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s != nil
}

func (w *world) holder(key string) string {
	e, err := w.parts.Keys.Get(key)
	if err != nil {
		w.t.Fatal(err)
	}
	if e == nil {
		return "-"
	}
	return e.Session
}

// pass lets time pass, and lets all goroutines do what is due.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

// transact takes a lock within a transaction.
func (w *world) transact(key, session string) {
	w.t.Helper()
	op := skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: key, Session: session}}
	if _, _, err := w.parts.Keys.Txn(w.t.Context(), []skerry.TxnOp{{Key: &op}}, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) save() []byte {
	w.t.Helper()
	var out bytes.Buffer
	if _, err := w.parts.Snapshots.SaveSnapshot(&out, false); err != nil {
		w.t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) restore(saved []byte) {
	w.t.Helper()
	if err := w.parts.Snapshots.RestoreSnapshot(w.t.Context(), bytes.NewReader(saved)); err != nil {
		w.t.Fatal(err)
	}
}

// figures returns the metrics of the parts, by name and label.
func figures(t *testing.T, p *decided.Parts) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(p)
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
	inWorld(t, func(w *world) {
		shows := func(when string, want map[string]float64) {
			t.Helper()
			got := figures(t, w.parts)
			for name, v := range want {
				if is, ok := got[name]; !ok || is != v {
					t.Errorf("%s: %s is %v, not %v", when, name, is, v)
				}
			}
		}
		shows("at first", map[string]float64{"decider": 0, "sessions": 0, "locks_held": 0, "snapshots_total/saved": 0})
		stop := w.run()
		w.node("n2", skerry.Passing)
		byTTL, byCheck := w.session(skerry.Session{TTLText: "10s"}), w.session(skerry.Session{NodeChecks: []string{"c"}})
		byNode, byHand := w.session(skerry.Session{Node: "n2"}), w.session(skerry.Session{})
		w.lock("a", byTTL)
		w.lock("a", byHand)
		w.transact("b", byCheck)
		w.transact("b", byHand)
		_, err := w.parts.Keys.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "c", Session: "none"}})
		if skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("a lock for no session: %v", err)
		}
		w.pass(time.Second) // the decider has seen n2
		shows("with locks", map[string]float64{"decider": 1, "sessions": 4, "locks_held": 2, "lock_delays": 0, "locks_total/taken": 2, "locks_total/refused": 3})
		w.parts.Sessions.DestroySession(t.Context(), byHand)
		w.parts.Sessions.DestroySession(t.Context(), byHand) // it is gone already
		w.node("n1", skerry.Critical)
		w.table.Withdraw("agent/n2", skerry.Version{Epoch: 1 << 60})
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
		saved := w.save()
		w.restore(saved)
		shows("after a snapshot", map[string]float64{
			"snapshots_total/saved": 1, "snapshots_total/restored": 1, "snapshot_bytes/saved": float64(len(saved)),
			"snapshot_bytes/restored": float64(len(saved)), "snapshot_timestamp_seconds/saved": float64(time.Now().Unix()),
		})
		stop()
	})
}

func TestARestoreKeepsLocksAndRenewsTTLs(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run()
		id := w.session(skerry.Session{TTLText: "20s", LockDelay: -1})
		w.lock("k", id)
		saved := w.save()
		w.pass(41 * time.Second)
		if w.lives(id) {
			t.Fatal("the session outlived twice its TTL")
		}
		before := w.kv.Index()
		w.restore(saved)
		synctest.Wait()
		if !w.lives(id) || w.holder("k") != id || w.kv.Index() <= before {
			t.Errorf("restored: lives %v, holder %q, index %d after %d", w.lives(id), w.holder("k"), w.kv.Index(), before)
		}
		w.pass(39 * time.Second)
		if !w.lives(id) {
			t.Error("the restored session did not begin its TTL anew")
		}
		w.pass(5 * time.Second)
		if w.lives(id) || w.holder("k") != "" {
			t.Error("the restored session does not end")
		}
		stop()
	})
}
