package decided_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided"
	"github.com/skerryhq/skerry/keyspace"
)

// A change of external records that takes away what a session is bound to ends it: at
// the change's own index, with its lock. There is no decider here.
func TestASessionEndsWithTheRecordThatItIsBoundTo(t *testing.T) {
	const id = "aaaaaaaa-0000-4000-8000-000000000001"
	check := func(id string, status skerry.Health) skerry.TxnOp {
		return skerry.TxnOp{Check: &skerry.CheckOp{Action: skerry.CatalogSet, Node: "N1", Check: checkOn(id, "s1", status)}}
	}
	drop := func(id string) skerry.TxnOp {
		return skerry.TxnOp{Check: &skerry.CheckOp{Action: skerry.CatalogDelete, Node: "n1", Check: checkOn(id, "s1", skerry.Passing)}}
	}
	tests := []struct {
		name   string
		change func(t *testing.T, s *decided.Store, x *decided.Externals)
		ends   bool
	}{
		{"registered critical", func(t *testing.T, _ *decided.Store, x *decided.Externals) {
			put(t, x, record("N1", "s1", checkOn("c", "s1", skerry.Critical)))
		}, true},
		{"registered as a warning", func(t *testing.T, _ *decided.Store, x *decided.Externals) {
			put(t, x, record("n1", "s1", checkOn("c", "s1", skerry.Warning)))
		}, false},
		{"another check is critical", func(t *testing.T, _ *decided.Store, x *decided.Externals) {
			put(t, x, record("n1", "s1", checkOn("d", "s1", skerry.Critical)))
		}, false},
		{"the check of another node is critical", func(t *testing.T, _ *decided.Store, x *decided.Externals) {
			put(t, x, record("n1/x", "s1", checkOn("c", "s1", skerry.Critical)))
		}, false},
		{"the check is deregistered", func(t *testing.T, _ *decided.Store, x *decided.Externals) { deregister(t, x, "n1", "", "c") }, true},
		{"another check is deregistered", func(t *testing.T, _ *decided.Store, x *decided.Externals) { deregister(t, x, "n1", "", "d") }, false},
		{"the service is deregistered", func(t *testing.T, _ *decided.Store, x *decided.Externals) { deregister(t, x, "n1", "s1", "") }, true},
		{"another service is deregistered", func(t *testing.T, _ *decided.Store, x *decided.Externals) { deregister(t, x, "n1", "s2", "") }, false},
		{"the node is deregistered", func(t *testing.T, _ *decided.Store, x *decided.Externals) { deregister(t, x, "N1", "", "") }, true},
		{"another node takes its ID", func(t *testing.T, _ *decided.Store, x *decided.Externals) {
			r := record("n2", "")
			r.Node.ID = id
			put(t, x, r)
		}, true},
		{"a transaction writes it critical", func(t *testing.T, s *decided.Store, _ *decided.Externals) {
			transact(t, s, check("c", skerry.Critical))
		}, true},
		{"a transaction writes it passing", func(t *testing.T, s *decided.Store, _ *decided.Externals) { transact(t, s, check("c", skerry.Passing)) }, false},
		{"a transaction removes it", func(t *testing.T, s *decided.Store, _ *decided.Externals) { transact(t, s, drop("c")) }, true},
		{"a transaction removes the node", func(t *testing.T, s *decided.Store, _ *decided.Externals) {
			transact(t, s, skerry.TxnOp{Node: &skerry.NodeOp{Action: skerry.CatalogDelete, Node: &skerry.Node{Name: "n1"}}})
		}, true},
		{"a transaction removes the service", func(t *testing.T, s *decided.Store, _ *decided.Externals) {
			transact(t, s, skerry.TxnOp{Service: &skerry.ServiceOp{Action: skerry.CatalogDelete, Node: "n1", Instance: &skerry.Instance{ID: "s1", Service: "web"}}})
		}, true},
		{"a transaction that is refused", func(t *testing.T, s *decided.Store, _ *decided.Externals) {
			_, refused, err := s.Txn(t.Context(), []skerry.TxnOp{check("c", skerry.Critical), {Key: &skerry.KeyOp{Action: skerry.KeyCheckIndex}}}, nil)
			if err != nil || len(refused) == 0 {
				t.Fatalf("refused %v, %v", refused, err)
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kv := keyspace.NewMemory()
			x, table := externals(t, kv)
			s := &decided.Store{KV: kv, Catalog: table, External: x}
			r := record("n1", "s1", checkOn("c", "s1", skerry.Passing), checkOn("d", "s1", skerry.Passing))
			r.Node.ID = id
			put(t, x, record("n1", "s2"))
			put(t, x, r)
			session, err := s.CreateSession(t.Context(), skerry.Session{Node: "n1", ServiceChecks: []skerry.ServiceCheck{{ID: "c"}}, TTLText: "10s"})
			if err != nil {
				t.Fatal(err)
			}
			lock := skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "k", Session: session}}
			if done, err := s.Write(t.Context(), lock); !done || err != nil {
				t.Fatalf("lock: %v %v", done, err)
			}
			before := kv.Index()
			tt.change(t, s, x)
			left, err := s.Session(session)
			if err != nil || (left == nil) != tt.ends {
				t.Fatalf("the session is there: %v, %v; ends: %v", left != nil, err, tt.ends)
			}
			e, err := s.Get("k")
			if err != nil || (e.Session == "") != tt.ends {
				t.Errorf("the lock: %+v, %v", e, err)
			}
			if at := s.ChangedSession(session); tt.ends && at != before+1 {
				t.Errorf("the session ended at %d; the change is %d", at, before+1)
			}
			if _, err := s.CreateSession(t.Context(), skerry.Session{Node: "n1", ServiceChecks: []skerry.ServiceCheck{{ID: "c"}}}); (err != nil) != tt.ends {
				t.Errorf("a new session: %v", err)
			}
		})
	}
}

// An owner's check of the same ID is the one that is shown, and the one that counts.
func TestASessionOfAnOwnersCheckOutlivesTheRecord(t *testing.T) {
	kv := keyspace.NewMemory()
	x, table := externals(t, kv)
	s := &decided.Store{KV: kv, Catalog: table, External: x}
	announce(t, table, "n1", "10.1.1.1", nil, nil, skerry.Passing)
	own := table.Owned("n1").Checks[0].ID
	session, err := s.CreateSession(t.Context(), skerry.Session{Node: "n1", NodeChecks: []string{own}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, x, skerry.ExternalRecord{Node: &skerry.Node{Name: "n1"}, KeepNode: true, Checks: []*skerry.Check{checkOn(own, "", skerry.Critical)}})
	deregister(t, x, "n1", "", "")
	if left, err := s.Session(session); left == nil || err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

func deregister(t *testing.T, x *decided.Externals, node, service, check string) {
	t.Helper()
	if err := x.DeleteExternal(t.Context(), node, service, check); err != nil {
		t.Fatal(err)
	}
}

func transact(t *testing.T, s *decided.Store, ops ...skerry.TxnOp) {
	t.Helper()
	if _, refused, err := s.Txn(t.Context(), ops, nil); err != nil || len(refused) > 0 {
		t.Fatalf("refused %v, %v", refused, err)
	}
}
