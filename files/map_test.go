package files

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A mapping is the file's own bytes, also when it is made greater and when the file was longer.
func TestMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mapped")
	f, err := Open(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	small, err := Map(f, 4096)
	if err != nil {
		t.Fatal(err)
	}
	copy(small, "first")
	large, err := Map(f, 1<<17)
	if err != nil {
		t.Fatal(err)
	}
	if err := Unmap(small); err != nil {
		t.Error(err)
	}
	copy(large[1<<16:], "second")
	if err := Unmap(large); err != nil {
		t.Error(err)
	}
	again, err := Map(f, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != 4096 || !bytes.HasPrefix(again, []byte("first")) {
		t.Errorf("%d bytes, beginning with %q", len(again), again[:5])
	}
	if err := Unmap(again); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != 1<<17 || !bytes.HasPrefix(b[1<<16:], []byte("second")) {
		t.Errorf("the file has %d bytes, %v", len(b), err)
	}
}

func TestSpace(t *testing.T) {
	total, free, ok := Space(t.TempDir())
	if ok && (free <= 0 || total < free) {
		t.Errorf("%d of %d bytes are free", free, total)
	}
	if _, _, ok := Space(filepath.Join(t.TempDir(), "none")); ok {
		t.Error("a path that is not there has space")
	}
}
