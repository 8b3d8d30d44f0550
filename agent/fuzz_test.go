package agent

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/journal"
)

// FuzzReplay: whatever two records say, they are taken or refused, and the agent
// starts on what was taken and gives it back.
func FuzzReplay(f *testing.F) {
	for _, r := range []record{
		{Epoch: 7},
		{Service: &serviceRecord{Instance: &skerry.Instance{ID: "a", Service: "web"}, Checks: []checkRecord{{Check: &skerry.Check{ID: "c", ServiceID: "a", Type: "ttl"}, Definition: &skerry.CheckDefinition{TTL: 1e9}, Slot: 3}}}},
		{Check: &checkRecord{Check: &skerry.Check{ID: "n", Type: "http"}, Definition: &skerry.CheckDefinition{HTTP: "x", Interval: 1}}},
		{GoneService: "a"}, {GoneCheck: "c"},
		{State: &stateRecord{ID: "c", Status: "passing"}},
	} {
		line, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line, []byte(`{"check":{"record":{"id":"c","service_id":"a","type":"ttl"},"definition":{"ttl":1},"slot":2147483647}}`))
		f.Add([]byte(`{"service":{"instance":{"id":"a","service":"web"}}}`), line)
	}
	f.Add([]byte(`{"service":{"instance":null}}`), []byte(`null`))
	f.Add([]byte(`{"check":{"record":{"id":"alive"},"slot":-1}}`), []byte(`{"epoch":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, deadlinesFile), one, 0o600); err != nil {
			t.Fatal(err)
		}
		p := &probes{results: map[string]check.Result{}, runs: map[string]int{}}
		a := New(Config{Owner: "o", Node: skerry.Node{Name: "n"}, Dir: dir, Kinds: kindsFor(p),
			NodeChecks: []*skerry.Check{{ID: "alive", Status: skerry.Passing}}, Own: []*skerry.Instance{{ID: "self", Service: "self"}}})
		for _, line := range [][]byte{one, two, one} {
			_ = a.Replay(line)
		}
		l, err := journal.OpenLedger("", nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(l, carrier(catalog.New(catalog.Config{}), slog.New(slog.DiscardHandler))); err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		a.Instances()
		a.Checks()
		again := New(Config{Kinds: kindsFor(p), Node: skerry.Node{Name: "n"}})
		defer again.Close()
		if err := a.Snapshot(func(r any) error {
			line, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return again.Replay(line)
		}); err != nil {
			t.Fatal(err)
		}
		if len(again.Instances()) != len(a.Instances()) {
			t.Errorf("a snapshot of %d instances gives back %d", len(a.Instances()), len(again.Instances()))
		}
	})
}
