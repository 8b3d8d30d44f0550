//go:build unix

package node

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/journal"
)

// A link or a pipe in the place of a file of ours is refused by
// name; what it leads to is neither read nor written, and is not made.
func TestPlantedFilesOfTheDataFolder(t *testing.T) {
	for _, name := range []string{"agent/journal", "agent/lock", "agent/deadlines", "acl.key", "acl-tokens.json"} {
		for what, plant := range map[string]func(path, foreign string) error{
			"a link":          func(path, foreign string) error { return os.Symlink(foreign, path) },
			"a dangling link": func(path, foreign string) error { return os.Symlink(foreign+"-none", path) },
			"a pipe":          func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		} {
			dir, foreign := t.TempDir(), filepath.Join(t.TempDir(), "foreign")
			if err := os.WriteFile(foreign, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := plant(path, foreign); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				s, err := New(t.Context(), completed(Config{DataDir: dir, ACL: ACL{Enabled: true, PersistTokens: true}}), nil, func() {})
				if err == nil {
					s.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("%s as %s: %v; want an error that names it", what, name, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s as %s: the start hangs", what, name)
			}
			if b, _ := os.ReadFile(foreign); string(b) != "precious" {
				t.Errorf("%s as %s: the foreign file holds %q now", what, name, b)
			}
			if _, err := os.Stat(foreign + "-none"); err == nil {
				t.Errorf("%s as %s: a foreign file was made", what, name)
			}
		}
	}
}

// A planted file of a compaction stops that, and nothing else.
func TestPlantedFileOfACompaction(t *testing.T) {
	dir, foreign := t.TempDir(), filepath.Join(t.TempDir(), "foreign")
	j, _, err := journal.Open(dir, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if err := os.Symlink(foreign, filepath.Join(dir, "journal.new")); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Compact(); err == nil || !strings.Contains(err.Error(), "journal.new") {
		t.Errorf("Compact: %v", err)
	}
	if err := j.Append([]byte("{}")).Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(foreign); err == nil {
		t.Error("a foreign file was made")
	}
}
