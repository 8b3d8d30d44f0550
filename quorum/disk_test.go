package quorum

import (
	"context"
	"log/slog"
	"testing"

	"github.com/skerryhq/skerry"
)

// A member of three that starts without the others shows what its disk has, and changes nothing.
func TestAMemberWithoutAMajorityShowsItsDisk(t *testing.T) {
	configs := peersFor(t, 3)
	stores := openAll(t, configs...)
	fillKeys(t, stores[0], "k/", 30)
	eventually(t, "all have the keys", func() bool { return count(stores[2].Snapshot(), "k/") == 30 })
	was := stores[2].Snapshot().Get("k/000007")
	if err := stores[2].Close(); err != nil { // its disk has everything then
		t.Fatal(err)
	}
	kill(stores[0])
	kill(stores[1])
	disk, cfg := NewDisk(), configs[2]
	cfg.Disk = disk
	e := Eventually(disk, func(ctx context.Context) (*Store, error) { return Open(ctx, cfg) }, slog.New(slog.DiscardHandler))
	defer e.Close()
	_, changed := e.Watch(skerry.Only("k/000007"))
	select {
	case <-changed:
	case <-t.Context().Done():
	}
	got := e.Snapshot().Get("k/000007")
	if got == nil || string(got.Value) != string(was.Value) || got.Modified != was.Modified || count(e.Snapshot(), "k/") != 30 {
		t.Fatalf("shown: %+v, want %+v", got, was)
	}
	if open, _ := e.Ready(); open {
		t.Fatal("the store is open without a majority")
	}
	if _, err := e.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("k/new", nil, 0); return nil }); skerry.KindOf(err) != skerry.Unavailable {
		t.Errorf("a change without a majority: %v", err)
	}
	openOne(t, configs[0])
	eventually(t, "the store is open", func() bool { open, _ := e.Ready(); return open })
	if _, err := e.Update(t.Context(), func(tx skerry.Tx) error { tx.Put("k/new", nil, 0); return nil }); err != nil {
		t.Errorf("a change with a majority: %v", err)
	}
	if got := count(e.Snapshot(), "k/"); got != 31 {
		t.Errorf("%d keys, want 31", got)
	}
}
