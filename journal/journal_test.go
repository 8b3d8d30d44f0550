package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, dir string) (*Journal, []string, Report) {
	t.Helper()
	var got []string
	j, report, err := Open(dir, func(r []byte) error {
		if strings.HasPrefix(string(r), "refuse") {
			return fmt.Errorf("refused")
		}
		got = append(got, string(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, got, report
}

func TestAppendedRecordsComeBackInOrder(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	for i := range 100 {
		if err := j.Append(fmt.Appendf(nil, `{"n":%d}`, i)).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, got, report := open(t, dir)
	if len(got) != 100 || got[99] != `{"n":99}` || report.Damaged != 0 || report.Torn {
		t.Fatalf("got %d records, report %+v", len(got), report)
	}
}

func TestConcurrentAppendsShareSyncs(t *testing.T) {
	j, _, _ := open(t, t.TempDir())
	const callers, each = 64, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if err := j.Append(fmt.Appendf(nil, "%d/%d", c, i)).Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := j.Syncs(); n > callers*each/4 {
		t.Errorf("%d appends by %d callers took %d syncs: they do not share them", callers*each, callers, n)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, _, err := Open(dir, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("second open: %v", err)
	}
}

func TestTornAndDamagedLines(t *testing.T) {
	whole := func(s string) string { return string(appendLine(nil, []byte(s))) }
	for name, c := range map[string]struct {
		file          string
		want          []string
		torn          bool
		damaged       int
		remainsInFile string
	}{
		"empty":           {file: ""},
		"torn last line":  {file: whole("a") + whole("b")[:7], want: []string{"a"}, torn: true, remainsInFile: whole("a")},
		"flipped bit":     {file: whole("a") + "00000000 b\n" + whole("c"), want: []string{"a", "c"}, damaged: 1},
		"no checksum":     {file: "hello\n" + whole("c"), want: []string{"c"}, damaged: 1},
		"refused":         {file: whole("refuse me") + whole("c"), want: []string{"c"}, damaged: 1},
		"zeros at end":    {file: whole("a") + "\x00\x00\x00\x00", want: []string{"a"}, torn: true, remainsInFile: whole("a")},
		"only a newline":  {file: "\n" + whole("a"), want: []string{"a"}, damaged: 1},
		"checksum of 'b'": {file: whole("b"), want: []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			j, got, report := open(t, dir)
			if fmt.Sprint(got) != fmt.Sprint(c.want) || report.Torn != c.torn || report.Damaged != c.damaged {
				t.Errorf("got %q, report %+v; want %q torn %v damaged %d", got, report, c.want, c.torn, c.damaged)
			}
			if c.damaged > 0 {
				if kept, err := os.ReadFile(report.Aside); err != nil || string(kept) != c.file {
					t.Errorf("the damaged file was not kept: %v", err)
				}
			}
			if c.remainsInFile != "" {
				if b, _ := os.ReadFile(path); string(b) != c.remainsInFile {
					t.Errorf("file is %q", b)
				}
			}
			if err := j.Append([]byte("next")).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			j.Close()
			if _, again, _ := open(t, dir); fmt.Sprint(again) != fmt.Sprint(append(c.want, "next")) {
				t.Errorf("after an append: %q", again)
			}
		})
	}
}

func TestCompactionKeepsWhatComesMeanwhile(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	for i := range 1000 {
		j.Append(fmt.Appendf(nil, "old %d", i))
	}
	c, err := j.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("meanwhile 1")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("snapshot")); err != nil {
		t.Fatal(err)
	}
	last := j.Append([]byte("meanwhile 2"))
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("after")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(filepath.Join(dir, fileName)); fi.Size() != j.Size() {
		t.Errorf("the file has %d bytes, Size says %d", fi.Size(), j.Size())
	}
	j.Close()
	_, got, _ := open(t, dir)
	if want := "[snapshot meanwhile 1 meanwhile 2 after]"; fmt.Sprint(got) != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestCompactionMendsABrokenJournal(t *testing.T) {
	dir := t.TempDir()
	j, _, _ := open(t, dir)
	if err := j.Append([]byte("a")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.io.Lock()
	j.file.Close() // every write fails from now on
	j.io.Unlock()
	if err := j.Append([]byte("b")).Wait(t.Context()); err == nil {
		t.Fatal("an append to a closed file was acknowledged")
	}
	if j.Broken() == nil {
		t.Fatal("the journal does not know that it is broken")
	}
	if err := j.Append([]byte("c")).Wait(t.Context()); err == nil {
		t.Fatal("a broken journal acknowledged")
	}
	c, err := j.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("a and b")); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("d")).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if _, got, _ := open(t, dir); fmt.Sprint(got) != "[a and b d]" {
		t.Errorf("got %q", got)
	}
}

// FuzzOpen: whatever is in the file, it opens, takes an append, and opens again.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(""))
	f.Add(appendLine(appendLine(nil, []byte(`{"a":1}`)), []byte("b")))
	f.Add([]byte("9b1d7a52 {}\ngarbage\n\n\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, before, _ := open(t, dir)
		if err := j.Append([]byte("x")).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.Close()
		_, after, _ := open(t, dir)
		if fmt.Sprint(after) != fmt.Sprint(append(before, "x")) {
			t.Fatalf("before %q, after %q", before, after)
		}
	})
}

// A wait ends with its context, and tells of what is durable all the same.
func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	b := &Batch{done: make(chan struct{})}
	if err := b.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that was given up: %v", err)
	}
	close(b.done)
	for range 100 {
		if err := b.Wait(ctx); err != nil {
			t.Fatalf("what is durable is not: %v", err)
		}
	}
}
