package decided

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/archive"
	"github.com/skerryhq/skerry/keyspace"
)

// wantsDamage fails the test unless err is the clear error about this record.
func wantsDamage(t *testing.T, what string, err error, key string) {
	t.Helper()
	if err == nil || skerry.KindOf(err) != skerry.Internal || !strings.Contains(err.Error(), `"`+key+`" is damaged`) {
		t.Errorf("%s of a damaged record: %v", what, err)
	}
}

func TestADamagedEntryIsNeitherReadNorAbsent(t *testing.T) {
	kv := keyspace.NewMemory()
	s := &Store{KV: kv}
	put(t, s, "a", "b", "c")
	kv.Damage("kv/b")
	_, err := s.Get("b")
	wantsDamage(t, "reading", err, "kv/b")
	_, _, err = s.List("", nil)
	wantsDamage(t, "a list", err, "kv/b")
	_, _, err = s.Keys("", "/", nil)
	wantsDamage(t, "the keys", err, "kv/b")
	blind := func(key string) bool { return key != "b" }
	if all, _, err := s.List("", blind); err != nil || len(all) != 2 {
		t.Errorf("a list for one who may not know of the damaged key: %v, %v", all, err)
	}
	if keys, _, err := s.Keys("", "", blind); err != nil || len(keys) != 2 {
		t.Errorf("the keys for one who may not know of the damaged one: %v, %v", keys, err)
	}
	if e, err := s.Get("a"); err != nil || string(e.Value) != "a" {
		t.Errorf("another key: %v, %v", e, err)
	}
	for _, op := range []skerry.KeyOp{
		{Action: skerry.KeyCAS, KeyValue: skerry.KeyValue{Key: "b"}}, // if it is not there
		{Action: skerry.KeyCAS, KeyValue: skerry.KeyValue{Key: "b", Modified: kv.Snapshot().Get("kv/b").Modified}},
		{Action: skerry.KeyDeleteCAS, KeyValue: skerry.KeyValue{Key: "b", Modified: kv.Snapshot().Get("kv/b").Modified}},
		{Action: skerry.KeyRelease, KeyValue: skerry.KeyValue{Key: "b", Session: "x"}},
	} {
		done, err := s.Write(t.Context(), op)
		wantsDamage(t, string(op.Action), err, "kv/b")
		if done {
			t.Errorf("%s was done", op.Action)
		}
	}
	for _, action := range []skerry.KeyAction{skerry.KeyGet, skerry.KeyGetOrEmpty, skerry.KeyGetAll, skerry.KeyCheckAbsent, skerry.KeyCheckIndex, skerry.KeyCheckSession} {
		op := []skerry.TxnOp{{Key: &skerry.KeyOp{Action: action, KeyValue: skerry.KeyValue{Key: "b"}}}}
		_, _, _, err := s.Read(op, nil)
		wantsDamage(t, "reading by "+string(action), err, "kv/b")
		_, _, err = s.Txn(t.Context(), op, nil)
		wantsDamage(t, "a transaction with "+string(action), err, "kv/b")
	}
	var out bytes.Buffer
	_, _, err = s.SaveSnapshot(&out, archive.Meta{}, false)
	wantsDamage(t, "a snapshot", err, "kv/b")
	if out.Len() > 0 {
		t.Errorf("the refused snapshot has %d bytes", out.Len())
	}
	for name, mend := range map[string]func(){
		"put": func() { put(t, s, "b") },
		"delete": func() {
			s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyDelete, KeyValue: skerry.KeyValue{Key: "b"}})
		},
		"delete all": func() {
			s.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyDeleteAll, KeyValue: skerry.KeyValue{Key: "b"}})
		},
		"txn": func() {
			s.Txn(t.Context(), []skerry.TxnOp{{Key: &skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: "b", Value: []byte("b")}}}}, nil)
		},
	} {
		kv.Damage("kv/b")
		mend()
		if e, err := s.Get("b"); err != nil || e != nil && string(e.Value) != "b" {
			t.Errorf("after %s: %v, %v", name, e, err)
		}
	}
}

// Writing a damaged entry anew does not free its lock.
func TestAMendedEntryKeepsItsHolder(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		kv := w.store.KV.(*keyspace.Memory)
		w.node("n1", skerry.Passing)
		first, second := w.session(skerry.Session{}), w.session(skerry.Session{})
		if !w.lock("k", first) {
			t.Fatal("the lock was not taken")
		}
		kv.Damage("kv/k")
		_, err := w.store.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "k", Session: second}})
		wantsDamage(t, "a lock", err, "kv/k")
		put(t, w.store, "k")
		if got := w.holder("k"); got != first {
			t.Errorf("the holder is %q, not %q", got, first)
		}
		if w.lock("k", second) {
			t.Error("two hold the lock")
		}
	})
}

// A damaged session ends no other session, holds its locks until it is ended, and
// can be ended.
func TestADamagedSession(t *testing.T) {
	inWorld(t, []string{"s1"}, func(w *world) {
		kv := w.store.KV.(*keyspace.Memory)
		w.node("n1", skerry.Passing)
		w.node("n2", skerry.Passing)
		damaged, other := w.session(skerry.Session{}), w.session(skerry.Session{Node: "n2"})
		w.lock("k", damaged)
		w.pass(time.Second) // the decider has seen n2
		kv.Damage("session/" + damaged)
		_, err := w.store.Session(damaged)
		wantsDamage(t, "a session", err, "session/"+damaged)
		_, err = w.store.Sessions("")
		wantsDamage(t, "the sessions", err, "session/"+damaged)
		_, err = w.store.Write(t.Context(), skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "l", Session: damaged}})
		wantsDamage(t, "a lock", err, "session/"+damaged)
		w.table.Withdraw("agent/n2")
		w.pass(2 * time.Second)
		if kv.Snapshot().Get("session/"+other) != nil {
			t.Error("the session of a node that went lives, since another is damaged")
		}
		if w.holder("k") != damaged {
			t.Error("the damaged session lost its lock")
		}
		if err := w.store.DestroySession(t.Context(), damaged); err != nil || kv.Snapshot().Get("session/"+damaged) != nil || w.holder("k") != "" {
			t.Errorf("it was not ended: %v, holder %q", err, w.holder("k"))
		}
	})
}

func TestADamagedQuery(t *testing.T) {
	kv := keyspace.NewMemory()
	q := &Queries{KV: kv, Log: slog.New(slog.DiscardHandler)}
	create := func(name string) string {
		id, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: name, Service: skerry.ServiceQuery{Service: "web"}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	bad, good := create("bad"), create("good")
	kv.Damage("query/" + bad)
	key := "query/" + bad
	_, _, err := q.Query(bad)
	wantsDamage(t, "a query", err, key)
	_, _, err = q.Queries()
	wantsDamage(t, "the queries", err, key)
	for _, name := range []string{bad, "bad"} {
		_, err = q.ResolveQuery(name)
		wantsDamage(t, "resolving", err, key)
	}
	if one, err := q.ResolveQuery("good"); err != nil || one.ID != good {
		t.Errorf("another: %v", err)
	}
	if _, err := q.CreateQuery(t.Context(), skerry.PreparedQuery{Name: "bad", Service: skerry.ServiceQuery{Service: "web"}}); err == nil {
		t.Error("its name is free")
	}
	if err := q.DeleteQuery(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	create("bad")
	if all, _, err := q.Queries(); err != nil || len(all) != 2 {
		t.Errorf("after it was mended: %d queries, %v", len(all), err)
	}
}

func TestDamagedExternalRecordsAreMended(t *testing.T) {
	kv := keyspace.NewMemory()
	x := &Externals{KV: kv, Catalog: nothingOwned{}, Log: slog.New(slog.DiscardHandler)}
	node := &skerry.Node{ID: "aaaaaaaa-0000-4000-8000-000000000001", Name: "n", Address: "1.2.3.4"}
	do := func(f func(tx *Change) error) {
		t.Helper()
		if _, err := x.update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	all := func(tx *Change) error {
		if _, err := x.putNode(tx, node, false); err != nil {
			return err
		}
		if _, err := putRecord(tx, extService+"n/web", &skerry.Instance{ID: "web", Service: "web"}); err != nil {
			return err
		}
		_, err := x.putCheck(tx, "n", &skerry.Check{ID: "c", ServiceID: "web"})
		return err
	}
	keys := []string{extNode + "n", extService + "n/web", extCheck + "n/c"}
	do(all)
	for _, key := range keys {
		kv.Damage(key)
		_, err := x.update(t.Context(), func(tx *Change) error {
			_, err := x.ApplyNode(tx, &skerry.NodeOp{Action: skerry.CatalogGet, Node: node})
			if err == nil {
				_, err = x.ApplyService(tx, &skerry.ServiceOp{Action: skerry.CatalogGet, Node: "n", Instance: &skerry.Instance{ID: "web"}})
			}
			if err == nil {
				_, err = x.ApplyCheck(tx, &skerry.CheckOp{Action: skerry.CatalogGet, Node: "n", Check: &skerry.Check{ID: "c"}})
			}
			return err
		})
		wantsDamage(t, "reading "+key, err, key)
		do(all)
		if r := kv.Snapshot().Get(key); r.Damage != nil {
			t.Errorf("%s was written anew and is damaged", key)
		}
		kv.Damage(key)
		do(func(tx *Change) error {
			if err := x.dropCheck(tx, "n", "c"); err != nil {
				return err
			}
			if err := x.dropService(tx, "n", "web"); err != nil {
				return err
			}
			return x.dropNode(tx, "n")
		})
		for r := range kv.Snapshot().All(skerry.Below("ext/"), "") {
			t.Errorf("after %s was damaged, and all was removed: %s is left", key, r.Key)
		}
		do(all)
	}
}

type nothingOwned struct{}

func (nothingOwned) Owned(string) *skerry.NodeView { return nil }
