package decided_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/decided/once"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// hanging is a store that hangs, once, between the evaluation of a change and its commit.
type hanging struct {
	*replicatest.Memory
	goOn chan struct{}
}

type hangsKey struct{}

// Update implements [skerry.KV].
func (h *hanging) Update(ctx context.Context, change func(skerry.Tx) error) (uint64, error) {
	hangs := ctx.Value(hangsKey{}) != nil
	return h.Memory.Update(ctx, func(tx skerry.Tx) error {
		err := change(tx)
		if hangs {
			hangs = false
			<-h.goOn
		}
		return err
	})
}

// operation is a change that clients ask for. It returns the outcome.
type operation struct {
	name string
	do   func(context.Context, *decided.Parts) (any, error)
}

// write is a write of a key.
func write(action skerry.KeyAction, key, session string) func(context.Context, *decided.Parts) (any, error) {
	return func(ctx context.Context, p *decided.Parts) (any, error) {
		return p.Keys.Write(ctx, skerry.KeyOp{Action: action, KeyValue: skerry.KeyValue{Key: key, Session: session, Value: []byte("v")}})
	}
}

func operations(held, loose string, query string) []operation {
	node := skerry.ExternalRecord{Node: &skerry.Node{Name: "ext", Address: "10.0.0.9"}}
	return []operation{
		{"put", write(skerry.KeyPut, "put", "")},
		{"cas", write(skerry.KeyCAS, "cas", "")},
		{"delete", write(skerry.KeyDelete, "there", "")},
		{"delete-tree", write(skerry.KeyDeleteAll, "tree/", "")},
		{"lock", write(skerry.KeyAcquire, "lock", loose)},
		{"unlock", write(skerry.KeyRelease, "held", held)},
		{"txn", func(ctx context.Context, p *decided.Parts) (any, error) {
			results, refused, err := p.Keys.Txn(ctx, []skerry.TxnOp{
				{Key: &skerry.KeyOp{Action: skerry.KeyCheckAbsent, KeyValue: skerry.KeyValue{Key: "txn"}}},
				{Key: &skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: "txn", Value: []byte("v")}}},
				{Key: &skerry.KeyOp{Action: skerry.KeyGet, KeyValue: skerry.KeyValue{Key: "held"}}},
				{Node: &skerry.NodeOp{Action: skerry.CatalogCAS, Node: &skerry.Node{Name: "txn", Address: "10.0.0.8"}}},
				{Node: &skerry.NodeOp{Action: skerry.CatalogGet, Node: &skerry.Node{Name: "old"}}},
			}, nil)
			said := fmt.Sprint(refused)
			for _, r := range results {
				said += fmt.Sprintf(" %+v %+v", r.Key, r.Node)
			}
			return said, err
		}},
		{"session", func(ctx context.Context, p *decided.Parts) (any, error) {
			return p.Sessions.CreateSession(ctx, skerry.Session{Node: "n1", TTLText: "60s"})
		}},
		{"destroy", func(ctx context.Context, p *decided.Parts) (any, error) {
			return nil, p.Sessions.DestroySession(ctx, held)
		}},
		{"query", func(ctx context.Context, p *decided.Parts) (any, error) {
			return p.Queries.CreateQuery(ctx, skerry.PreparedQuery{Name: "made", Service: skerry.ServiceQuery{Service: "web"}})
		}},
		{"query's end", func(ctx context.Context, p *decided.Parts) (any, error) {
			return nil, p.Queries.DeleteQuery(ctx, query)
		}},
		{"register", func(ctx context.Context, p *decided.Parts) (any, error) {
			return nil, p.External.PutExternal(ctx, node)
		}},
		{"deregister", func(ctx context.Context, p *decided.Parts) (any, error) {
			return nil, p.External.DeleteExternal(ctx, "old", "", "")
		}},
		{"event", func(ctx context.Context, p *decided.Parts) (any, error) {
			return p.Events.Fire(ctx, skerry.Event{Name: "deploy"}), nil
		}},
		{"autopilot", func(ctx context.Context, p *decided.Parts) (any, error) {
			none := uint64(0)
			return p.Settings.SetAutopilot(ctx, skerry.Autopilot{}, &none)
		}},
	}
}

// table returns the records of the store, without those of requests.
func table(kv skerry.KV) map[string]string {
	out := map[string]string{}
	for r := range kv.Snapshot().All(skerry.Below(""), "") {
		if !strings.HasPrefix(r.Key, skerry.Fleeting) {
			out[r.Key] = fmt.Sprint(r.Created, r.Modified, string(r.Value))
		}
	}
	return out
}

// Every change has the same outcome at an attempt that hung before its commit, at the one that was
// sent meanwhile, and at one that comes after all.
func TestChangesAreMadeOnce(t *testing.T) {
	for i, op := range operations("", "", "") {
		t.Run(op.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { madeOnce(t, i) })
		})
	}
}

func madeOnce(t *testing.T, operation int) {
	w := &world{t: t, kv: replicatest.NewMemory(), table: catalog.New(catalog.Config{FirstIndex: 1})}
	h := &hanging{w.kv, make(chan struct{})}
	w.parts = decided.New(decided.Options{KV: h, Catalog: w.table, Announcer: w.table, Self: "s1"})
	w.node("n1", skerry.Passing)
	defer w.run()()
	held, loose := w.session(skerry.Session{LockDelay: -1}), w.session(skerry.Session{TTLText: "60s"})
	if !w.lock("held", held) {
		t.Fatal("a key could not be locked")
	}
	query, err := w.parts.Queries.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "old", Service: skerry.ServiceQuery{Service: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"there", "tree/a"} {
		write(skerry.KeyPut, key, "")(t.Context(), w.parts)
	}
	if err := w.parts.External.PutExternal(t.Context(), skerry.ExternalRecord{Node: &skerry.Node{Name: "old", Address: "10.0.0.7"}}); err != nil {
		t.Fatal(err)
	}
	do := operations(held, loose, query)[operation].do
	attempt := func() (*once.Attempt, context.Context) {
		a := once.Begin(0, "a secret")
		return a, once.With(t.Context(), a)
	}
	type result struct {
		outcome any
		err     error
	}
	first := make(chan result)
	go func() {
		_, ctx := attempt()
		outcome, err := do(context.WithValue(ctx, hangsKey{}, true), w.parts)
		first <- result{outcome, err}
	}()
	synctest.Wait()
	_, ctx := attempt()
	want, err := do(ctx, w.parts)
	if err != nil {
		t.Fatalf("the second attempt: %v", err)
	}
	made := table(w.kv)
	close(h.goOn)
	if got := <-first; got.err != nil || fmt.Sprint(got.outcome) != fmt.Sprint(want) {
		t.Errorf("the attempt that hung: %+v %v, want %+v", got.outcome, got.err, want)
	}
	if now := table(w.kv); !maps.Equal(now, made) {
		t.Errorf("the attempt that hung changed %v to %v", made, now)
	}
	again, ctx := attempt()
	if made, err := again.Made(w.kv)(ctx); !made || err != nil {
		t.Fatalf("it was not made: %v", err)
	}
	if got, err := do(ctx, w.parts); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the last attempt: %+v %v, want %+v", got, err, want)
	}
	if now := table(w.kv); !maps.Equal(now, made) {
		t.Errorf("the last attempt changed %v to %v", made, now)
	}
}

// An attempt that comes later is not judged by what has changed since.
func TestASessionWasMadeBeforeItsCheckFailed(t *testing.T) {
	inWorld(t, func(w *world) {
		create := func(a *once.Attempt) (string, error) {
			return w.parts.Sessions.CreateSession(once.With(t.Context(), a), skerry.Session{Node: "n1", NodeChecks: []string{"c"}})
		}
		id, err := create(once.Begin(0, "a secret"))
		if err != nil {
			t.Fatal(err)
		}
		w.node("n1", skerry.Critical)
		if _, err := create(once.Begin(0, "another")); err == nil {
			t.Error("a session was made although its check is critical")
		}
		again := once.Begin(0, "a secret")
		if made, err := again.Made(w.kv)(t.Context()); !made || err != nil {
			t.Fatalf("it was not made: %v", err)
		}
		if got, err := create(again); got != id || err != nil {
			t.Errorf("the session %s, %v, want %s", got, err, id)
		}
	})
}
