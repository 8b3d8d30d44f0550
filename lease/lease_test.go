package lease

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/journal"
)

// leaseOf returns a set of n instances.
func leaseOf(n int) skerry.Set {
	set := skerry.Set{Node: &skerry.Node{Name: "n1", Datacenter: "dc1", Address: "127.0.0.1"}}
	for i := range n {
		set.Instances = append(set.Instances, &skerry.Instance{
			ID: string(rune('a' + i)), Service: "web", Weights: skerry.Weights{Passing: 1, Warning: 1},
		})
	}
	return set
}

func TestLeaseLimits(t *testing.T) {
	l := New(Limits{MinTTL: 2 * time.Second, MaxTTL: time.Minute, MaxOwners: 2, MaxInstances: 3})
	ledger, err := journal.OpenLedger("", map[string]journal.Keeper{KeeperName: l}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	if err := l.Start(ledger, catalog.New(catalog.Config{}), false); err != nil {
		t.Fatal(err)
	}
	put := func(id skerry.OwnerID, instances int, ttl time.Duration) error {
		_, _, err := l.PutOwner(t.Context(), id, leaseOf(instances), ttl)
		return err
	}
	steps := []struct {
		name      string
		owner     skerry.OwnerID
		instances int
		ttl       time.Duration
		want      string // in the error; "": none
		kind      skerry.Kind
	}{
		{name: "shorter than min_ttl", owner: "a", instances: 1, ttl: time.Second, want: "2s", kind: skerry.Invalid},
		{name: "longer than max_ttl", owner: "a", instances: 1, ttl: time.Hour, want: "1m0s", kind: skerry.Invalid},
		{name: "too many instances", owner: "a", instances: 4, ttl: time.Minute, want: "lease.max_instances", kind: skerry.Invalid},
		{name: "the shortest", owner: "a", instances: 3, ttl: 2 * time.Second},
		{name: "the longest", owner: "b", instances: 1, ttl: time.Minute},
		{name: "one owner too many", owner: "c", instances: 1, ttl: time.Minute, want: "lease.max_owners", kind: skerry.Exhausted},
		{name: "an owner that is there", owner: "a", instances: 2, ttl: time.Minute},
	}
	for _, s := range steps {
		err := put(s.owner, s.instances, s.ttl)
		if (err == nil) != (s.want == "") || err != nil && (!strings.Contains(err.Error(), s.want) || skerry.KindOf(err) != s.kind) {
			t.Errorf("%s: %v (%v), want %q (%v)", s.name, err, skerry.KindOf(err), s.want, s.kind)
		}
	}
	if err := l.DeleteOwner(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := put("c", 1, time.Minute); err != nil {
		t.Errorf("after one left: %v", err)
	}
	free := New(Limits{})
	set := leaseOf(3)
	if err := errors.Join(free.limits.judge(&set, time.Second), free.limits.judge(&set, 24*time.Hour)); err != nil {
		t.Errorf("the defaults refuse: %v", err)
	}
}

// A put is newer than all that is known of its owner, also when another server, whose clock
// is ahead, took the last one. A set that is there already is a beat.
func TestVersions(t *testing.T) {
	table := catalog.New(catalog.Config{})
	open := func(epoch uint64) *Keeper {
		l := New(Limits{})
		l.epoch = epoch
		ledger, err := journal.OpenLedger("", map[string]journal.Keeper{KeeperName: l}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ledger.Close() })
		if err := l.Start(ledger, table, false); err != nil {
			t.Fatal(err)
		}
		return l
	}
	put := func(l *Keeper, instances int) skerry.Version {
		t.Helper()
		if _, _, err := l.PutOwner(t.Context(), "a", leaseOf(instances), time.Minute); err != nil {
			t.Fatal(err)
		}
		if n := len(table.Service("web").Entries); n != instances {
			t.Fatalf("%d instances are shown, want %d", n, instances)
		}
		v, _, _ := table.Known(prefix + "a")
		return v
	}
	ahead, behind := open(2000), open(1000)
	first := put(ahead, 1)
	if second := put(behind, 2); !first.Less(second) {
		t.Errorf("%v follows %v", second, first)
	}
	third := put(ahead, 3)
	if again := put(ahead, 3); again != third {
		t.Errorf("the set that is there is announced as %v after %v", again, third)
	}
	if err := ahead.DeleteOwner(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if fourth := put(behind, 1); !third.Less(fourth) {
		t.Errorf("%v follows a withdrawal after %v", fourth, third)
	}
}

// A process that was away for long forgets its sets: they are neither announced nor replayed
// again.
func TestSetsOfAProcessThatWasAwayAreForgotten(t *testing.T) {
	dir := t.TempDir()
	open := func(away bool) (*catalog.Table, *Keeper) {
		l, table := New(Limits{}), catalog.New(catalog.Config{})
		ledger, err := journal.OpenLedger(dir, map[string]journal.Keeper{KeeperName: l}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer ledger.Close()
		if err := l.Start(ledger, table, away); err != nil {
			t.Fatal(err)
		}
		if away || len(l.sets) > 0 {
			return table, l
		}
		if _, _, err := l.PutOwner(t.Context(), "a", leaseOf(1), time.Minute); err != nil {
			t.Fatal(err)
		}
		return table, l
	}
	open(false)
	if table, l := open(false); len(l.sets) != 1 || len(table.Service("web").Entries) != 1 {
		t.Fatalf("it is not replayed: %v", l.sets)
	}
	if table, l := open(true); len(l.sets) != 0 || len(table.Service("web").Entries) != 0 {
		t.Errorf("after a long absence: %v", l.sets)
	}
	l := New(Limits{})
	ledger, err := journal.OpenLedger(dir, map[string]journal.Keeper{KeeperName: l}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ledger.Close()
	if len(l.sets) != 0 {
		t.Errorf("it is replayed again: %v", l.sets)
	}
}
