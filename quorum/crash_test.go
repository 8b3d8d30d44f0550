package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/test/program"
)

const crashFolder = "QUORUM_CRASH_FOLDER"

func crashKey(n int) string { return fmt.Sprintf("k/%06d", n) }

// TestHelperThatIsKilled is the process that the test below kills: it writes, tells
// what is acknowledged, and without a pause drops history and writes the file anew.
func TestHelperThatIsKilled(t *testing.T) {
	dir := os.Getenv(crashFolder)
	if dir == "" {
		t.Skip("only for TestKilledWhileTheStoreCompacts")
	}
	s, err := Open(context.Background(), Embedded{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println("cannot open:", err)
		os.Exit(1)
	}
	go func() {
		for {
			s.member.client.Compact(context.Background(), s.member.etcd.Server.KV().Rev(), clientv3.WithCompactPhysical())
			if err := s.member.etcd.Server.Defragment(); err != nil {
				os.Exit(1)
			}
		}
	}()
	for n := 0; ; n++ {
		key := crashKey(n)
		if s.Snapshot().Get(key) != nil {
			continue
		}
		if _, err := s.Update(context.Background(), func(tx skerry.Tx) error { tx.Put(key, []byte(key), 0); return nil }); err != nil {
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// Killed while etcd drops history and writes its file anew, the store opens again, with
// every acknowledged record and none that is damaged.
func TestKilledWhileTheStoreCompacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := -1
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		acknowledged = max(acknowledged, program.Killed(t, "TestHelperThatIsKilled", crashFolder+"="+dir, 150*time.Millisecond, 30*time.Second))
		s := open(t, Embedded{Dir: dir})
		now := s.Snapshot()
		for n := range acknowledged + 1 {
			if r := now.Get(crashKey(n)); r == nil || r.Damage != nil || string(r.Value) != crashKey(n) {
				t.Fatalf("round %d: record %d of %d is %+v", round, n, acknowledged, r)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acknowledged < rounds {
		t.Errorf("only %d records were acknowledged in %d rounds", acknowledged, rounds)
	}
	t.Logf("%d records were acknowledged in %d rounds", acknowledged+1, rounds)
}
