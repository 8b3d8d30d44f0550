package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// breakFile makes every write fail from now on.
func breakFile(j *Journal) {
	j.io.Lock()
	j.file.Close()
	j.io.Unlock()
}

// A failure while a compaction runs: its snapshot is older than what was
// acknowledged since, so it must not take the old file's place.
func TestAFailureDuringACompactionLosesNothing(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	c, err := j.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("an old snapshot")); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("acknowledged")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	breakFile(j)
	if err := j.Append([]byte("failed")).Wait(t.Context()); err == nil {
		t.Fatal("an append to a closed file was acknowledged")
	}
	if err := c.Commit(); err == nil {
		t.Fatal("a snapshot from before the failure was taken for the whole")
	}
	if j.Broken() == nil {
		t.Error("the journal takes appends again without a new snapshot")
	}
	j.Close()
	if _, got, _ := open(t, dir); fmt.Sprint(got) != "[acknowledged]" {
		t.Errorf("got %q", got)
	}
}

func TestAppendsThatWaitInABrokenJournalFail(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	j.io.Lock() // as while a sync hangs
	j.file.Close()
	first := j.Append([]byte("first"))
	j.fail(errors.New("the sync failed"))
	c, err := j.Compact()
	if err != nil {
		t.Fatal(err)
	}
	j.io.Unlock()
	if err := c.Write([]byte("snapshot")); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(t.Context()); err == nil {
		t.Error("an append from before the failure was acknowledged after it")
	}
	if err := j.Append([]byte("next")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, got, _ := open(t, dir); fmt.Sprint(got) != "[snapshot next]" {
		t.Errorf("got %q", got)
	}
}

func TestClosedJournal(t *testing.T) {
	j, _, _ := open(t, t.TempDir())
	c, err := j.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("a compaction of a closed journal: %v", err)
	}
	if err := j.Append([]byte("x")).Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("an append to a closed journal: %v", err)
	}
}

// The limit of the size of files stands for a full disk: a write ends in the
// middle of a line, then nothing more goes.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(size uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(1000)
	defer limit(was.Cur)
	var want []string
	for i := 0; ; i++ {
		record := fmt.Sprintf("record %d", i)
		if err := j.Append([]byte(record)).Wait(t.Context()); err != nil {
			break
		}
		want = append(want, record)
	}
	if len(want) < 40 || j.Broken() == nil {
		t.Fatalf("%d records fitted, broken: %v", len(want), j.Broken())
	}
	if fi, _ := os.Stat(filepath.Join(dir, fileName)); fi.Size() != 1000 {
		t.Fatalf("the file has %d bytes: the write did not end in the middle", fi.Size())
	}
	// A copy of the folder is what a crash would leave now.
	crashed := t.TempDir()
	content, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(crashed, fileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := j.Compact()
	if err == nil {
		if err := c.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
			t.Fatal(err)
		}
		err = c.Commit()
	}
	if err == nil {
		t.Fatal("a compaction had room on a full disk")
	}
	limit(was.Cur) // somebody made room
	if _, got, report := open(t, crashed); fmt.Sprint(got) != fmt.Sprint(want) || report.Damaged != 0 {
		t.Errorf("after a crash: %d of %d records, report %+v", len(got), len(want), report)
	}
	if c, err = j.Compact(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Write([]byte("snapshot")), c.Commit(), j.Append([]byte("after")).Wait(t.Context())); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, got, _ := open(t, dir); fmt.Sprint(got) != "[snapshot after]" {
		t.Errorf("got %q", got)
	}
}
