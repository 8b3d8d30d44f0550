package txn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/external"
	"github.com/skerryhq/skerry/decided/kv"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/decided/txn"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// parts are all that transactions work on, over one quorum store and one catalog.
type parts struct {
	table    *catalog.Table
	keys     *kv.Store
	sessions *session.Store
	external *external.Store
	txns     *txn.Runner
}

// newParts returns parts whose catalog does not show external records yet.
func newParts(store skerry.KV) *parts {
	p := &parts{table: catalog.New(catalog.Config{}), keys: kv.New(kv.Options{KV: store})}
	p.sessions = session.New(session.Options{KV: store, Catalog: p.table})
	p.external = external.New(external.Options{KV: store, Catalog: p.table, Announcer: p.table, Sessions: p.sessions})
	p.txns = txn.New(txn.Options{KV: store, Keys: p.keys, Sessions: p.sessions, External: p.external})
	return p
}

// show shows the external records in the catalog until the test ends.
func (p *parts) show(t testing.TB) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.external.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
}

func record(node, service string, checks ...*skerry.Check) skerry.ExternalRecord {
	r := skerry.ExternalRecord{Node: &skerry.Node{Name: node, Address: "10.0.0.1"}, Checks: checks}
	if service != "" {
		r.Instance = &skerry.Instance{ID: service, Service: "web", Port: 80, Tags: []string{"t"}}
	}
	return r
}

func checkOn(id, service string, status skerry.Health) *skerry.Check {
	return &skerry.Check{ID: id, Name: id, ServiceID: service, Status: status}
}

func put(t testing.TB, x *external.Store, r skerry.ExternalRecord) {
	t.Helper()
	if err := x.PutExternal(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// A transaction's compare-and-set works with the index that a reader of the
// catalog saw, as ESM does it.
func TestExternalTransactions(t *testing.T) {
	p := newParts(replicatest.NewMemory())
	p.show(t)
	x, table := p.external, p.table
	put(t, x, record("n1", "s1", checkOn("c1", "s1", skerry.Passing)))
	txn := func(ops ...skerry.TxnOp) (string, []skerry.TxnResult) {
		t.Helper()
		results, refused, err := p.txns.Txn(t.Context(), ops, nil)
		if err != nil {
			t.Fatal(err)
		}
		put(t, x, record("shown", ""))
		if len(refused) > 0 {
			return refused[0].What, nil
		}
		return "", results
	}
	cas := func(modified uint64, status skerry.Health) skerry.TxnOp {
		c := checkOn("c1", "s1", status)
		c.Modified = modified
		return skerry.TxnOp{Check: &skerry.CheckOp{Action: skerry.CatalogCAS, Node: "N1", Check: c}}
	}
	seen := table.Service("web").Entries[0].Checks[0].Modified
	if what, results := txn(cas(seen, skerry.Critical)); what != "" || results[0].Check.Modified <= seen {
		t.Errorf("refused: %s", what)
	}
	if now := table.Service("web").Entries[0].Checks[0]; now.Status != skerry.Critical || now.Modified <= seen {
		t.Errorf("not shown: %+v", now)
	}
	node := func(a skerry.CatalogAction, name string, modified uint64) skerry.TxnOp {
		return skerry.TxnOp{Node: &skerry.NodeOp{Action: a, Node: &skerry.Node{Stamp: skerry.Stamp{Modified: modified}, Name: name, Address: "10.0.0.1"}}}
	}
	service := func(a skerry.CatalogAction, node, id string, modified uint64) skerry.TxnOp {
		return skerry.TxnOp{Service: &skerry.ServiceOp{Action: a, Node: node, Instance: &skerry.Instance{Stamp: skerry.Stamp{Modified: modified}, ID: id, Service: "web"}}}
	}
	check := func(a skerry.CatalogAction, node, id, service string) skerry.TxnOp {
		return skerry.TxnOp{Check: &skerry.CheckOp{Action: a, Node: node, Check: checkOn(id, service, skerry.Passing)}}
	}
	for _, c := range []struct {
		op   skerry.TxnOp
		want string
	}{
		{cas(seen, skerry.Passing), `failed to set check "c1" on node "N1", index is stale`},
		{node(skerry.CatalogCAS, "n1", 0), `failed to set node "n1", index is stale`},
		{node(skerry.CatalogCAS, "new", 0), ""},
		{node(skerry.CatalogDeleteCAS, "new", 1), `failed to delete node "new", index is stale`},
		{node(skerry.CatalogDelete, "new", 0), ""},
		{node(skerry.CatalogGet, "new", 0), `node "new" doesn't exist`},
		{node("jump", "n1", 0), "unknown node operation: jump"},
		{service(skerry.CatalogSet, "none", "s", 0), "Missing node registration"},
		{service(skerry.CatalogCAS, "n1", "s2", 0), ""},
		{service(skerry.CatalogCAS, "n1", "s2", 0), `failed to set service "s2" on node "n1", index is stale`},
		{service(skerry.CatalogGet, "n1", "s2", 0), ""},
		{check(skerry.CatalogSet, "n1", "c2", "s2"), ""},
		{check(skerry.CatalogSet, "n1", "c3", "none"), "Missing service registration"},
		{service(skerry.CatalogDelete, "n1", "s2", 0), ""},
		{check(skerry.CatalogGet, "n1", "c2", ""), `check "c2" on node "n1" doesn't exist`},
		{check(skerry.CatalogDelete, "n1", "c2", ""), ""},
		{check("jump", "n1", "c2", ""), "unknown check operation: jump"},
		{service(skerry.CatalogSet, "", "s", 0), "Must provide node"},
	} {
		if got, _ := txn(c.op); got != c.want {
			op, _ := json.Marshal(c.op)
			t.Errorf("%s: %q, want %q", op, got, c.want)
		}
	}
}

// A transaction reads what owners announce too, and sees no external record that it
// removed itself, though the catalog still shows it.
func TestExternalTransactionsReadTheCatalog(t *testing.T) {
	p := newParts(replicatest.NewMemory())
	p.show(t)
	x, table := p.external, p.table
	decidedtest.Announce(t, table, "own", "10.1.1.1", nil, nil, skerry.Warning)
	put(t, x, record("own", "web-own", checkOn("esm", "", skerry.Passing)))
	put(t, x, record("ext", "s1"))
	node := func(a skerry.CatalogAction, name string) skerry.TxnOp {
		return skerry.TxnOp{Node: &skerry.NodeOp{Action: a, Node: &skerry.Node{Name: name, Address: "10.0.0.1"}}}
	}
	service := func(a skerry.CatalogAction, node, id string) skerry.TxnOp {
		return skerry.TxnOp{Service: &skerry.ServiceOp{Action: a, Node: node, Instance: &skerry.Instance{ID: id, Service: "web"}}}
	}
	check := func(node, id string) skerry.TxnOp {
		return skerry.TxnOp{Check: &skerry.CheckOp{Action: skerry.CatalogGet, Node: node, Check: checkOn(id, "", skerry.Passing)}}
	}
	owned := table.Owned("own")
	results, refused, _, _ := p.txns.Read([]skerry.TxnOp{
		node(skerry.CatalogGet, "OWN"), service(skerry.CatalogGet, "own", "web-own"), check("own", owned.Checks[0].ID), check("own", "esm"),
	}, nil)
	if len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	if results[0].Node != owned.Node || results[1].Service != owned.Instances[0] || results[2].Check != owned.Checks[0] || results[3].Check.ID != "esm" {
		t.Errorf("an owner's record does not win: %+v", results)
	}
	for _, c := range []struct {
		ops  []skerry.TxnOp
		want string
	}{
		{[]skerry.TxnOp{service(skerry.CatalogDelete, "ext", "s1"), service(skerry.CatalogGet, "ext", "s1")}, `service "s1" on node "ext" doesn't exist`},
		{[]skerry.TxnOp{node(skerry.CatalogDelete, "ext"), node(skerry.CatalogGet, "ext")}, `node "ext" doesn't exist`},
		{[]skerry.TxnOp{node(skerry.CatalogDelete, "ext"), service(skerry.CatalogSet, "ext", "s2")}, "Missing node registration"},
	} {
		_, refused, err := p.txns.Txn(t.Context(), c.ops, nil)
		if err != nil || len(refused) != 1 || refused[0] != (skerry.TxnError{Op: 1, What: c.want}) {
			t.Errorf("%v, %v, want %q", refused, err, c.want)
		}
	}
}

// A transaction that writes external records is answered once the catalog shows them,
// as a registration is.
func TestExternalTransactionIsShownWhenItIsAnswered(t *testing.T) {
	p := newParts(replicatest.NewMemory())
	node := skerry.TxnOp{Node: &skerry.NodeOp{Action: skerry.CatalogSet, Node: &skerry.Node{Name: "n1", Address: "10.0.0.1"}}}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, _, err := p.txns.Txn(short, []skerry.TxnOp{node}, nil); skerry.KindOf(err) != skerry.Unavailable || p.table.Node("n1") != nil {
		t.Errorf("nobody shows records, and a transaction is answered with %v", err)
	}
	p.show(t)
	for i := range 50 {
		node.Node.Node.Name = fmt.Sprintf("m%d", i)
		if _, refused, err := p.txns.Txn(t.Context(), []skerry.TxnOp{node}, nil); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
		if p.table.Node(node.Node.Node.Name) == nil {
			t.Fatalf("the node of transaction %d is not shown", i)
		}
	}
}

func TestATransactionWithADamagedEntry(t *testing.T) {
	mem := replicatest.NewMemory()
	p := newParts(mem)
	put := []skerry.TxnOp{{Key: &skerry.KeyOp{Action: skerry.KeyPut, KeyValue: skerry.KeyValue{Key: "b", Value: []byte("b")}}}}
	transact(t, p, put...)
	mem.Damage("kv/b")
	for _, action := range []skerry.KeyAction{skerry.KeyGet, skerry.KeyGetOrEmpty, skerry.KeyGetAll, skerry.KeyCheckAbsent, skerry.KeyCheckIndex, skerry.KeyCheckSession} {
		op := []skerry.TxnOp{{Key: &skerry.KeyOp{Action: action, KeyValue: skerry.KeyValue{Key: "b"}}}}
		_, _, _, err := p.txns.Read(op, nil)
		decidedtest.WantDamage(t, "reading by "+string(action), err, "kv/b")
		_, _, err = p.txns.Txn(t.Context(), op, nil)
		decidedtest.WantDamage(t, "a transaction with "+string(action), err, "kv/b")
	}
	transact(t, p, put...)
	if e, err := p.keys.Get("b"); err != nil || string(e.Value) != "b" {
		t.Errorf("after it was written anew: %v, %v", e, err)
	}
}
