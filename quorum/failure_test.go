package quorum

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/test/program"
)

func put(t *testing.T, s *Store, key string, value []byte) error {
	t.Helper()
	_, err := s.Update(t.Context(), func(tx skerry.Tx) error { tx.Put(key, value, 0); return nil })
	return err
}

// readable fails the test when acknowledged keys cannot be read, by the strict way.
func readable(t *testing.T, s *Store, n int) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("reads do not go on: %v", err)
	}
	for i := range n {
		if s.Snapshot().Get(fmt.Sprintf("k/%05d", i)) == nil {
			t.Fatalf("the acknowledged key %d is lost", i)
		}
	}
}

// fill writes until it is refused, and returns how many writes were acknowledged.
func fill(t *testing.T, s *Store, most int) (int, error) {
	t.Helper()
	value := bytes.Repeat([]byte("x"), 100_000)
	for i := range most {
		if err := put(t, s, fmt.Sprintf("k/%05d", i), value); err != nil {
			return i, err
		}
	}
	t.Fatalf("%d writes were not refused", most)
	return 0, nil
}

// made fails the test unless the keys of fill that are there are exactly those that were acknowledged.
func made(t *testing.T, s *Store, n int) {
	t.Helper()
	readable(t, s, n)
	if s.Snapshot().Get(fmt.Sprintf("k/%05d", n)) != nil {
		t.Errorf("the write %d was refused and made", n)
	}
}

func TestAtTheQuotaReadsGoOnAndDeletingHelps(t *testing.T) {
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			var stores []*Store
			if members == 1 {
				stores = []*Store{open(t, Embedded{Dir: t.TempDir(), Quota: 16 << 20})}
				defer stores[0].Close()
			} else {
				configs := peersFor(t, members)
				for i := range configs {
					configs[i].Quota = 16 << 20
				}
				stores = openAll(t, configs...)
			}
			s := stores[members-1]
			n, err := fill(t, s, 1000)
			if skerry.KindOf(err) != skerry.Exhausted || !strings.Contains(err.Error(), "quorum.quota") {
				t.Fatalf("at the quota: %v", err)
			}
			made(t, s, n)
			for range 3 {
				if err := put(t, s, fmt.Sprintf("k/%05d", n), bytes.Repeat([]byte("x"), 100_000)); skerry.KindOf(err) != skerry.Exhausted {
					t.Errorf("beyond the quota: %v", err)
				}
			}
			made(t, s, n)
			for _, prefix := range []string{"k/00000", "k/00001", "k/"} {
				if _, err := s.Update(t.Context(), func(tx skerry.Tx) error { tx.DeleteAll(prefix); return nil }); err != nil {
					t.Fatalf("delete at the quota: %v", err)
				}
			}
			// etcd frees what is compacted in the background, so one tidying may come too early.
			for end := time.Now().Add(time.Minute); ; {
				for _, one := range stores {
					one.member.tidy(t.Context(), one.log)
				}
				if err = put(t, s, "again", nil); err == nil || time.Now().After(end) {
					break
				}
			}
			if err != nil {
				t.Errorf("after the deletion: %v", err)
			}
		})
	}
}

func TestADamagedLogIsAnErrorAndNoMore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Embedded{Dir: dir})
	for i := range 100 {
		if err := put(t, s, fmt.Sprintf("k/%d", i), bytes.Repeat([]byte("v"), 500)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	logs, _ := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	if len(logs) == 0 {
		t.Fatal("no log is there")
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 20_000; i < 20_400; i++ {
		b[i] ^= 0xff
	}
	if err := os.WriteFile(logs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Embedded{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a damaged log was opened: %v", err)
	}
	t.Logf("the error: %v", err)
}

func TestAFolderThatCannotBeWrittenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	e := Eventually(nil, func(ctx context.Context) (*Store, error) { return Open(ctx, Embedded{Dir: file, Log: log}) }, log)
	defer e.Close()
	for {
		if _, err := e.Ready(); err != nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("no error")
		}
		time.Sleep(time.Millisecond)
	}
	if err := e.Sync(t.Context()); skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), "folder") {
		t.Errorf("sync: %v", err)
	}
	if s := e.Snapshot(); s.Get("x") != nil || s.Index() == 0 {
		t.Errorf("the table of a store that is not there: index %d", s.Index())
	}
}

func TestANearlyFullDiskRefusesWritesAndRecovers(t *testing.T) {
	t.Parallel()
	dir := program.SmallDisk(t, "400m")
	s := open(t, Embedded{Dir: filepath.Join(dir, "q"), Spare: 64 << 20})
	defer s.Close()
	if err := put(t, s, "k/00000", nil); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	_, free, _ := files.Space(dir)
	if err := os.WriteFile(ballast, make([]byte, free-32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "x", nil); skerry.KindOf(err) != skerry.Exhausted || !strings.Contains(err.Error(), "disk") {
		t.Errorf("on a full disk: %v", err)
	}
	readable(t, s, 1)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "x", nil); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Without the reserve, etcd finds the disk full and ends. The process goes on,
// says why, and nothing acknowledged is lost.
func TestADiskThatIsFullEndsTheStoreAndNotTheProcess(t *testing.T) {
	t.Parallel()
	dir := program.SmallDisk(t, "200m")
	s := open(t, Embedded{Dir: filepath.Join(dir, "q"), Spare: 1})
	n, err := fill(t, s, 10_000)
	if kind := skerry.KindOf(err); kind != skerry.Unavailable && kind != skerry.Exhausted {
		t.Errorf("on a full disk: %v", err)
	}
	t.Logf("after %d writes: %v", n, err)
	for i := range n {
		if s.Snapshot().Get(fmt.Sprintf("k/%05d", i)) == nil {
			t.Fatalf("the acknowledged key %d is lost", i)
		}
	}
	s.Close()
}

// fillDisk leaves 10 MB on a disk. The store may take room for its next log file meanwhile.
func fillDisk(t *testing.T, disk, ballast string) {
	t.Helper()
	var err error
	for range 20 {
		_, free, _ := files.Space(disk)
		if err = os.WriteFile(ballast, make([]byte, free-10<<20), 0o600); err == nil {
			return
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal(err)
}

// With room again it is started anew in the same process: all that was acknowledged is
// there, writes are taken, and watchers of the store that stopped look at the new one.
// That holds again and again.
func TestAStoreThatDiedOfAFullDiskComesBack(t *testing.T) {
	t.Parallel()
	disk := program.SmallDisk(t, "600m")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	e := Eventually(nil, func(ctx context.Context) (*Store, error) {
		return Open(ctx, Embedded{Dir: filepath.Join(disk, "q"), Spare: 1, Log: log})
	}, log)
	defer e.Close()
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	known := 0
	for round := range 2 {
		_, changed := e.Watch(skerry.Only("after"))
		fillDisk(t, disk, ballast)
		first := e.store.Load()
		write := func(key string, size int) error {
			_, err := e.Update(t.Context(), func(tx skerry.Tx) error { tx.Put(key, bytes.Repeat([]byte("x"), size), 0); return nil })
			return err
		}
		var err error
		for ; err == nil; known++ {
			err = write(fmt.Sprintf("k/%05d", known), 100_000)
		}
		known--
		select {
		case <-first.died():
		case <-time.After(time.Minute):
			t.Fatalf("the store did not stop: the test shows nothing; the last error is %v", err)
		}
		if err := write("x", 1); skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), "room") {
			t.Errorf("while it is stopped: %v", err)
		}
		if e.Snapshot().Get("k/00000") == nil {
			t.Error("reads do not go on")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal("it did not come back")
		}
		if e.store.Load() == first {
			t.Fatal("who watched was woken by the store that stopped")
		}
		if err := write("after", round); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		readable(t, e.store.Load(), known)
		if s := e.state(); s != stateOpen {
			t.Errorf("its state is %s", s)
		}
	}
	t.Logf("%d writes were acknowledged", known)
}
