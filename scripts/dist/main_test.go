package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A module that is built as skerry is: it says the version that is stamped.
var sample = map[string]string{
	"go.mod":     "module example.org/sample\n\ngo 1.26\n",
	"LICENSE":    "free\n",
	"README.md":  "read\n",
	".gitignore": "/dist/\n",
	"main.go": `package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

var version string

func main() {
	info, _ := debug.ReadBuildInfo()
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	if version == "" {
		version = strings.TrimPrefix(info.Main.Version, "v")
	}
	fmt.Printf("{\"Version\": %q, \"Revision\": %q}\n", version, revision)
}
`,
}

// newSample makes a repository of the sample, with a tag on its only commit.
func newSample(t *testing.T) release {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not on PATH: versions are stamped from a repository")
	}
	root := t.TempDir()
	for name, text := range sample {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "all"}, {"tag", "v1.2.3"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	var only []target
	for _, t := range targets {
		if t.ours() || t.os == "windows" {
			only = append(only, t)
		}
	}
	return release{root: root, pkg: ".", folder: filepath.Join(root, "dist"), targets: only}
}

// Two builds of a commit, in two folders, are the same bytes; their sums hold, and the
// binary says the version of the tag.
func TestARelease(t *testing.T) {
	r := newSample(t)
	if err := r.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.verify(t.Context()); err != nil {
		t.Error(err)
	}
	first, err := os.ReadFile(r.path(sums))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"skerry_1.2.3_windows_amd64.zip\n"} {
		if !strings.Contains(string(first), name) {
			t.Errorf("%q has no %s", first, name)
		}
	}
	again := r
	again.root = filepath.Join(t.TempDir(), "elsewhere")
	if out, err := exec.Command("git", "clone", "-q", r.root, again.root).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	again.folder = filepath.Join(again.root, "dist")
	if err := again.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(again.path(sums))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%v; the second build has other sums:\n%s%s", err, first, second)
	}
}

// A release is not built of what is not committed, and a damaged one is noticed.
func TestARefusedRelease(t *testing.T) {
	r := newSample(t)
	if err := os.WriteFile(filepath.Join(r.root, "LICENSE"), []byte("changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.build(t.Context()); err == nil || !strings.Contains(err.Error(), "not committed") {
		t.Errorf("a changed work tree: %v", err)
	}
	if err := os.WriteFile(r.path("a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSums(r.folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path("a"), []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.verify(t.Context()); err == nil || !strings.Contains(err.Error(), "a has the sum") {
		t.Errorf("a changed file: %v", err)
	}
	if err := writeSums(r.folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path("b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.verify(t.Context()); err == nil || !strings.Contains(err.Error(), "b is not in") {
		t.Errorf("a file too many: %v", err)
	}
}
