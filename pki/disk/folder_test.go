package disk_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
)

// Credentials come back as they were. The private key and the authority are for their owner alone.
func TestFolder(t *testing.T) {
	f := disk.Folder(filepath.Join(t.TempDir(), "pki"))
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an empty folder: %v", err)
	}
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SaveAuthority(a); err != nil {
		t.Fatal(err)
	}
	key, err := f.Key()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := a.Sign(request, pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: "s1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.Key = key
	if err := f.Save(h); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if err != nil || !key.Equal(got.Key) || !got.Leaf().Equal(h.Leaf()) || len(got.Chain) != 2 || len(got.Roots) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := f.Authority(); err != nil || again.Pin() != a.Pin() {
		t.Errorf("the authority: %v", err)
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	// A damaged file is an error that names it.
	authorities, _, private := f.Files()
	for _, path := range []string{private, authorities} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is damaged: %v", path, err)
		}
	}
}

// The first tokens are used up on disk, and handed over once.
func TestBook(t *testing.T) {
	b := disk.Folder(t.TempDir()).Book()
	tok, err := join.NewToken(pki.Server, pki.Pin{1}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(tok.ID, join.EntryOf(tok, time.Now(), 2, "")); err != nil {
		t.Fatal(err)
	}
	for node, ok := range map[string]bool{"s1": true, "s2": true} {
		key, _ := pki.NewKey()
		if err := join.Admit(context.Background(), b, tok, node, key.Public(), time.Now()); (err == nil) != ok {
			t.Errorf("%s: %v", node, err)
		}
	}
	key, _ := pki.NewKey()
	if err := join.Admit(context.Background(), b, tok, "s3", key.Public(), time.Now()); err == nil {
		t.Error("a third server joins with a token for two")
	}
	// What cannot be handed over stays.
	full := errors.New("no majority")
	if err := b.HandOver(func(disk.Tokens) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	times := 0
	for range 2 {
		err := b.HandOver(func(t disk.Tokens) error {
			if times++; t.Entries[tok.ID.String()].Uses != 0 || len(t.Keys) != 2 {
				return errors.New("other tokens or keys")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if times != 1 {
		t.Errorf("handed over %d times", times)
	}
	if _, err := b.Tokens(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it: %v", err)
	}
}
