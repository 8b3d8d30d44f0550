package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/decided/external"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/journal"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// What an older version kept in the journal moves into the store once, and the
// journal has nothing of it afterwards.
func TestOldExternalRecordsMove(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	open := func() (*oldExternal, *journal.Ledger) {
		x := &oldExternal{log: log, nodes: map[string]*skerry.Set{}}
		ledger, err := journal.OpenLedger(dir, map[string]journal.Keeper{externalKeeper: x}, log)
		if err != nil {
			t.Fatal(err)
		}
		x.ledger = ledger
		return x, ledger
	}
	_, ledger := open()
	for i := range 3 {
		name := fmt.Sprint("n", i)
		set := &skerry.Set{Node: &skerry.Node{Name: name, Address: "10.0.0.1"}, Instances: []*skerry.Instance{{ID: "s", Service: "web"}}}
		if err := ledger.Append(externalKeeper, externalRecord{Node: name, Set: set}).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ledger.Append(externalKeeper, externalRecord{Node: "n2"}).Wait(t.Context())
	ledger.Close()

	kv, table := replicatest.NewMemory(), catalog.New(catalog.Config{})
	records := external.New(external.Options{
		KV: kv, Catalog: table, Announcer: table, Sessions: session.New(session.Options{KV: kv, Catalog: table}), Log: log,
	})
	x, ledger := open()
	taken := 0
	failing := func(ctx context.Context, set *skerry.Set) error {
		if taken++; taken > 1 {
			return errors.New("no quorum")
		}
		return records.Adopt(ctx, set)
	}
	if err := x.moveAll(t.Context(), failing); err == nil {
		t.Error("the failure was not told")
	}
	if err := ledger.Compact(); err != nil {
		t.Fatal(err)
	}
	ledger.Close()

	x, ledger = open()
	if len(x.nodes) != 1 {
		t.Errorf("%d nodes are left in the journal, want 1", len(x.nodes))
	}
	x.move(t.Context(), records.Adopt)
	ledger.Close()
	if x, ledger = open(); len(x.nodes) != 0 {
		t.Errorf("%d nodes are still in the journal", len(x.nodes))
	}
	ledger.Close()
	for _, key := range []string{"ext/node/n0", "ext/node/n1", "ext/service/n0/s", "ext/service/n1/s"} {
		if kv.Snapshot().Get(key) == nil {
			t.Errorf("%s is not in the store", key)
		}
	}
	if kv.Snapshot().Get("ext/node/n2") != nil {
		t.Error("what was deleted came back")
	}
}
