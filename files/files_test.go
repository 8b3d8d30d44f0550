//go:build unix

package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// within fails the test when f takes long: it would hang.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, n int) string {
		if err := os.WriteFile(at(name), []byte(strings.Repeat("x", n)), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	link := func(name, to string) string {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{write("plain", 100), ""}, {write("empty", 0), ""}, {link("link", write("target", 100)), ""}, {link("relative", "plain"), ""},
		{write("large", 101), "more than 100 bytes"}, {link("to-large", at("large")), "more than 100 bytes"},
		{"/dev/zero", "is a device"}, {link("zero", "/dev/zero"), "is a device"}, {link("twice", at("zero")), "is a device"},
		{at("fifo"), "is a pipe"}, {link("to-fifo", at("fifo")), "is a pipe"}, {dir, "is a folder"}, {at("none"), "no such file"},
		{link("dangling", at("none")), "no such file"}, {link("self", at("self")), "too many levels"},
		{"/proc/kallsyms", "more than 100 bytes"}, // it says of itself that it has none
	} {
		within(t, tt.path, func() {
			b, err := Read(tt.path, 100)
			if tt.want == "" && (err != nil || len(b) > 100) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path)) {
				t.Errorf("%s: %d bytes, %v; want %q", tt.path, len(b), err, tt.want)
			}
		})
	}
	within(t, "a pipe without a writer", func() {
		if _, err := ReadPiped(at("fifo"), 100); err == nil || !strings.Contains(err.Error(), "without a writer") {
			t.Errorf("a pipe without a writer: %v", err)
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("said")
	w.Close()
	if b, err := ReadPiped(fmt.Sprintf("/dev/fd/%d", r.Fd()), 100); err != nil || string(b) != "said" {
		t.Errorf("a shell's pipe: %q, %v", b, err)
	}
}

// What is planted in the place of a kept file is left alone, and so is what it leads to.
func TestKeptFilesAreNotLinks(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	kept := filepath.Join(dir, "kept")
	plants := map[string]func() error{
		"a link":          func() error { return os.Symlink(foreign, kept) },
		"a dangling link": func() error { return os.Symlink(foreign+"-none", kept) },
		"a pipe":          func() error { return syscall.Mkfifo(kept, 0o600) },
		"a folder":        func() error { return os.Mkdir(kept, 0o700) },
		"a device":        func() error { return os.Symlink("/dev/zero", kept) },
	}
	for name, plant := range plants {
		if err := os.WriteFile(foreign, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		within(t, name, func() {
			for _, flag := range []int{os.O_RDONLY, os.O_CREATE | os.O_RDWR, os.O_CREATE | os.O_RDWR | os.O_TRUNC} {
				if f, err := Open(kept, flag, 0o600); err == nil {
					f.Close()
					t.Errorf("%s was opened (%#x)", name, flag)
				} else if !strings.Contains(err.Error(), kept) {
					t.Errorf("%s: %v does not name the file", name, err)
				}
			}
			if err := WriteNew(kept, []byte("ours")); err == nil {
				t.Errorf("%s was written to", name)
			}
			if _, err := ReadKept(kept, 100); err == nil {
				t.Errorf("%s was read", name)
			}
		})
		if b, _ := os.ReadFile(foreign); string(b) != "precious" {
			t.Errorf("%s: the foreign file holds %q now", name, b)
		}
		if _, err := os.Stat(foreign + "-none"); err == nil {
			t.Errorf("%s: a foreign file was made", name)
		}
		os.RemoveAll(kept)
	}
}

func TestMakeFolder(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own")
	if err := os.Symlink(t.TempDir(), own); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(own, 0o700); err != nil {
		t.Errorf("a link of ours: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a link of another user")
	}
	if err := os.Lchown(own, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(own, 0o700); err == nil || !strings.Contains(err.Error(), own) {
		t.Errorf("a link of another user: %v", err)
	}
}

func TestExposed(t *testing.T) {
	dir := t.TempDir()
	if err := WriteNew(filepath.Join(dir, "key"), []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if w := Exposed(dir, "key", "none"); len(w) != 0 {
		t.Errorf("%q", w)
	}
	os.Chmod(filepath.Join(dir, "key"), 0o644)
	os.Chmod(dir, 0o777)
	if w := Exposed(dir, "key", "none"); len(w) != 2 {
		t.Errorf("%q, want two warnings", w)
	}
}
