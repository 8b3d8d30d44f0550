//go:build unix

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/files"
)

// loads is Load, and fails the test when that hangs.
func loads(t *testing.T, src Source) (c *Config, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); c, _, err = Load(src) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("Load of %+v hangs", src)
	}
	return c, err
}

func TestLoadTakesNoDeviceNorEndlessFile(t *testing.T) {
	for want, put := range map[string]func(path string) error{
		"is a device": func(p string) error { return os.Symlink("/dev/zero", p) },
		"is a pipe":   func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"more than 16777216 bytes": func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, files.MaxConfig+1)
		},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.json")
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		for _, src := range []Source{{Files: []string{path}}, {Dirs: []string{dir}}} {
			if _, err := loads(t, src); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", src, err, want)
			}
		}
	}
}

// A file of the command line may be a shell's pipe: -config-file <(program).
func TestLoadTakesAPipeFromAShell(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString(`{"datacenter":"piped"}`)
	w.Close()
	src := Source{Files: []string{fmt.Sprintf("/dev/fd/%d", r.Fd())}}
	if c, err := loads(t, src); err != nil || c.Datacenter != "piped" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := loads(t, src); err == nil || !strings.Contains(err.Error(), "can be read once") {
		t.Errorf("the second time: %v", err)
	}
}
