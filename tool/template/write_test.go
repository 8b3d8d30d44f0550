package template

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func writer(o Options) *runner {
	o.Log, o.Stdout, o.Stderr = slog.New(slog.DiscardHandler), io.Discard, io.Discard
	return &runner{Options: o}
}

// Whoever reads while a file is replaced sees one whole file or the other.
func TestPlaceIsAtomic(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "new", "file")
	whole := [][]byte{bytes.Repeat([]byte("a"), 1<<18), bytes.Repeat([]byte("b"), 1<<18)}
	r := writer(Options{})
	place := func(contents []byte, want bool) {
		t.Helper()
		if changed, err := r.place(t.Context(), dest, contents); changed != want || err != nil {
			t.Fatalf("changed %v, %v; want %v", changed, err, want)
		}
	}
	place(whole[0], true)
	place(whole[0], false)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			data, err := os.ReadFile(dest)
			if err != nil || !bytes.Equal(data, whole[0]) && !bytes.Equal(data, whole[1]) {
				t.Errorf("a reader sees %d bytes, %v", len(data), err)
				return
			}
		}
	}()
	for i := range 20 {
		place(whole[(i+1)%2], true)
	}
	close(stop)
	<-done
	if left, err := os.ReadDir(filepath.Dir(dest)); len(left) != 1 || err != nil {
		t.Errorf("left beside the file: %v, %v", left, err)
	}
}

func TestPlaceRefuses(t *testing.T) {
	dir := t.TempDir()
	dest := filepath.Join(dir, "file")
	if err := os.WriteFile(dest, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"a validation that fails":    {Validate: "false"},
		"one that looks at the file": {Validate: `grep -q before {} && test "$SKERRY_TEMPLATE" != ` + dest},
	} {
		if changed, err := writer(o).place(t.Context(), dest, []byte("after")); changed || err == nil {
			t.Errorf("%s: changed %v, %v", name, changed, err)
		}
	}
	if changed, err := writer(Options{}).place(t.Context(), dir, []byte("after")); changed || err == nil {
		t.Errorf("a folder is replaced: %v, %v", changed, err)
	}
	if data, err := os.ReadFile(dest); string(data) != "before" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if changed, err := writer(Options{Validate: "grep -q after {}", Backup: true}).place(t.Context(), dest, []byte("after")); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	info, err := os.Stat(dest)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
	if data, err := os.ReadFile(dest + ".bak"); string(data) != "before" || err != nil {
		t.Errorf("the one before is %q, %v", data, err)
	}
}
