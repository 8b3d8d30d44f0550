// Package program builds the skerry binary for tests of the whole system, runs
// it, and finds ports for it.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skerryhq/skerry/tool/sandbox"
)

// EnvBinary names the environment variable that holds the path of a binary to
// test in place of one built from this tree.
const EnvBinary = "SKERRY_BIN"

// Main builds the binary, runs the tests and removes the binary. It is the body
// of a TestMain:
//
//	func TestMain(m *testing.M) { program.Main(m) }
func Main(m *testing.M) {
	TakeSignals()
	dir, err := os.MkdirTemp("", "skerry-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var folder string

// Skerry returns the path of the binary. The first call builds it; a tree that
// does not build ends the test.
func Skerry(t testing.TB) string {
	t.Helper()
	path, err := skerry()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var skerry = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		return filepath.Abs(path)
	}
	return build("skerry", Root(), "./cmd/skerry")
})

// Build builds the program of package pkg in the module at dir, a path below the
// root of the repository, and returns its path.
func Build(t testing.TB, dir, pkg string) string {
	t.Helper()
	path, err := build(filepath.Base(pkg), filepath.Join(Root(), dir), pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(name, dir, pkg string) (string, error) {
	path := filepath.Join(folder, name)
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// Root returns the root folder of the repository.
var Root = sync.OnceValue(func() string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		panic(fmt.Sprintf("go env GOMOD: %v", err))
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
})

// Need skips the test unless every program is on PATH.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not on PATH; `make test` installs what the tests need", p)
		}
	}
}

// SmallDisk mounts a disk of its own in memory, of a size such as "400m", and returns
// its folder; the test is skipped where that is not allowed.
func SmallDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here (root is needed): %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	return dir
}

// Port is [sandbox.FreePort] until the test ends.
func Port(t testing.TB) int {
	t.Helper()
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sandbox.ReturnPort(port) })
	return port
}
