package external

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/record"
	"github.com/skerryhq/skerry/decided/session"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func TestDamagedExternalRecordsAreMended(t *testing.T) {
	kv := replicatest.NewMemory()
	sessions := session.New(session.Options{KV: kv, Catalog: nothingOwned{}})
	x := New(Options{KV: kv, Catalog: nothingOwned{}, Sessions: sessions})
	node := &skerry.Node{ID: "aaaaaaaa-0000-4000-8000-000000000001", Name: "n", Address: "1.2.3.4"}
	do := func(f func(tx *session.Change) error) {
		t.Helper()
		if _, err := sessions.Update(t.Context(), nil, f); err != nil {
			t.Fatal(err)
		}
	}
	all := func(tx *session.Change) error {
		if _, err := x.putNode(tx, node, false); err != nil {
			return err
		}
		if _, err := put(tx, record.ExternalServices+"n/web", &skerry.Instance{ID: "web", Service: "web"}); err != nil {
			return err
		}
		_, err := x.putCheck(tx, "n", &skerry.Check{ID: "c", ServiceID: "web"})
		return err
	}
	keys := []string{record.ExternalNodes + "n", record.ExternalServices + "n/web", record.ExternalChecks + "n/c"}
	do(all)
	for _, key := range keys {
		kv.Damage(key)
		_, err := sessions.Update(t.Context(), nil, func(tx *session.Change) error {
			_, err := x.ApplyNode(tx, &skerry.NodeOp{Action: skerry.CatalogGet, Node: node})
			if err == nil {
				_, err = x.ApplyService(tx, &skerry.ServiceOp{Action: skerry.CatalogGet, Node: "n", Instance: &skerry.Instance{ID: "web"}})
			}
			if err == nil {
				_, err = x.ApplyCheck(tx, &skerry.CheckOp{Action: skerry.CatalogGet, Node: "n", Check: &skerry.Check{ID: "c"}})
			}
			return err
		})
		decidedtest.WantDamage(t, "reading "+key, err, key)
		do(all)
		if r := kv.Snapshot().Get(key); r.Damage != nil {
			t.Errorf("%s was written anew and is damaged", key)
		}
		kv.Damage(key)
		do(func(tx *session.Change) error {
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

// nothingOwned is a catalog without owners.
type nothingOwned struct{ session.Catalog }

func (nothingOwned) Owned(string) *skerry.NodeView { return nil }
