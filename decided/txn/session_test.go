package txn_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// A change of external records that removes the node or check of a session ends the
// session and its lock, at the change's own index. No decider runs here.
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
		change func(t *testing.T, p *parts)
		ends   bool
	}{
		{"registered critical", func(t *testing.T, p *parts) {
			put(t, p.external, record("N1", "s1", checkOn("c", "s1", skerry.Critical)))
		}, true},
		{"registered as a warning", func(t *testing.T, p *parts) {
			put(t, p.external, record("n1", "s1", checkOn("c", "s1", skerry.Warning)))
		}, false},
		{"another check is critical", func(t *testing.T, p *parts) {
			put(t, p.external, record("n1", "s1", checkOn("d", "s1", skerry.Critical)))
		}, false},
		{"the check of another node is critical", func(t *testing.T, p *parts) {
			put(t, p.external, record("n1/x", "s1", checkOn("c", "s1", skerry.Critical)))
		}, false},
		{"the check is deregistered", func(t *testing.T, p *parts) { deregister(t, p, "n1", "", "c") }, true},
		{"another check is deregistered", func(t *testing.T, p *parts) { deregister(t, p, "n1", "", "d") }, false},
		{"the service is deregistered", func(t *testing.T, p *parts) { deregister(t, p, "n1", "s1", "") }, true},
		{"another service is deregistered", func(t *testing.T, p *parts) { deregister(t, p, "n1", "s2", "") }, false},
		{"the node is deregistered", func(t *testing.T, p *parts) { deregister(t, p, "N1", "", "") }, true},
		{"another node takes its ID", func(t *testing.T, p *parts) {
			r := record("n2", "")
			r.Node.ID = id
			put(t, p.external, r)
		}, true},
		{"a transaction writes it critical", func(t *testing.T, p *parts) {
			transact(t, p, check("c", skerry.Critical))
		}, true},
		{"a transaction writes it passing", func(t *testing.T, p *parts) { transact(t, p, check("c", skerry.Passing)) }, false},
		{"a transaction removes it", func(t *testing.T, p *parts) { transact(t, p, drop("c")) }, true},
		{"a transaction removes the node", func(t *testing.T, p *parts) {
			transact(t, p, skerry.TxnOp{Node: &skerry.NodeOp{Action: skerry.CatalogDelete, Node: &skerry.Node{Name: "n1"}}})
		}, true},
		{"a transaction removes the service", func(t *testing.T, p *parts) {
			transact(t, p, skerry.TxnOp{Service: &skerry.ServiceOp{Action: skerry.CatalogDelete, Node: "n1", Instance: &skerry.Instance{ID: "s1", Service: "web"}}})
		}, true},
		{"a transaction that is refused", func(t *testing.T, p *parts) {
			_, refused, err := p.txns.Txn(t.Context(), []skerry.TxnOp{check("c", skerry.Critical), {Key: &skerry.KeyOp{Action: skerry.KeyCheckIndex}}}, nil)
			if err != nil || len(refused) == 0 {
				t.Fatalf("refused %v, %v", refused, err)
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { testEnding(t, id, tt.change, tt.ends) })
	}
}

// testEnding makes a change while a session is bound to the check "c" of the node "n1", and
// checks whether the session ends. id is the ID of the node.
func testEnding(t *testing.T, id string, change func(*testing.T, *parts), ends bool) {
	kv := replicatest.NewMemory()
	p := newParts(kv)
	p.show(t)
	r := record("n1", "s1", checkOn("c", "s1", skerry.Passing), checkOn("d", "s1", skerry.Passing))
	r.Node.ID = id
	put(t, p.external, record("n1", "s2"))
	put(t, p.external, r)
	session, err := p.sessions.CreateSession(t.Context(), skerry.Session{Node: "n1", ServiceChecks: []skerry.ServiceCheck{{ID: "c"}}, TTLText: "10s"})
	if err != nil {
		t.Fatal(err)
	}
	lock := skerry.KeyOp{Action: skerry.KeyAcquire, KeyValue: skerry.KeyValue{Key: "k", Session: session}}
	if done, err := p.keys.Write(t.Context(), lock); !done || err != nil {
		t.Fatalf("lock: %v %v", done, err)
	}
	before := kv.Index()
	change(t, p)
	left, err := p.sessions.Session(session)
	if err != nil || (left == nil) != ends {
		t.Fatalf("the session is there: %v, %v; ends: %v", left != nil, err, ends)
	}
	e, err := p.keys.Get("k")
	if err != nil || (e.Session == "") != ends {
		t.Errorf("the lock: %+v, %v", e, err)
	}
	if at := p.sessions.ChangedSession(session); ends && at != before+1 {
		t.Errorf("the session ended at %d; the change is %d", at, before+1)
	}
	if _, err := p.sessions.CreateSession(t.Context(), skerry.Session{Node: "n1", ServiceChecks: []skerry.ServiceCheck{{ID: "c"}}}); (err != nil) != ends {
		t.Errorf("a new session: %v", err)
	}
}

// An owner's check of the same ID is the one that is shown, and the one that counts.
func TestASessionOfAnOwnersCheckOutlivesTheRecord(t *testing.T) {
	kv := replicatest.NewMemory()
	p := newParts(kv)
	p.show(t)
	decidedtest.Announce(t, p.table, "n1", "10.1.1.1", nil, nil, skerry.Passing)
	own := p.table.Owned("n1").Checks[0].ID
	session, err := p.sessions.CreateSession(t.Context(), skerry.Session{Node: "n1", NodeChecks: []string{own}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, p.external, skerry.ExternalRecord{Node: &skerry.Node{Name: "n1"}, KeepNode: true, Checks: []*skerry.Check{checkOn(own, "", skerry.Critical)}})
	deregister(t, p, "n1", "", "")
	if left, err := p.sessions.Session(session); left == nil || err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

func deregister(t *testing.T, p *parts, node, service, check string) {
	t.Helper()
	if err := p.external.DeleteExternal(t.Context(), node, service, check); err != nil {
		t.Fatal(err)
	}
}

func transact(t *testing.T, p *parts, ops ...skerry.TxnOp) {
	t.Helper()
	if _, refused, err := p.txns.Txn(t.Context(), ops, nil); err != nil || len(refused) > 0 {
		t.Fatalf("refused %v, %v", refused, err)
	}
}
