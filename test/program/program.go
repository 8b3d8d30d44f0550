// Package program builds the skerry binary for tests of the whole system, runs
// it, and finds ports for it.
package program

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
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

// Ports below the ephemeral range, so that no outgoing connection takes one
// between the search and its use, and below those (from 10000) that the official
// client's own tests reserve.
const (
	firstPort = 4000
	lastPort  = 9900
	blockSize = 100
)

var (
	portsMu  sync.Mutex
	nextPort int
	endPort  int            // of the block of nextPort
	claims   []net.Listener // the first port of each block of this process
	returned []int          // by tests that ended; they are used when no block is left
)

// Port returns a port of 127.0.0.1 that is free for TCP and UDP. No other call returns
// it before the test has ended, in this process or in another that runs at the same time, so that a
// server can be stopped and started again on it.
func Port(t testing.TB) int {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		portsMu.Lock()
		defer portsMu.Unlock()
		returned = append(returned, port)
	})
	return port
}

// FreePort is [Port] for programs that are no tests.
func FreePort() (int, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	for {
		if nextPort == endPort && !claimBlock() {
			for i, p := range returned {
				if free(p) {
					returned = slices.Delete(returned, i, i+1)
					return p, nil
				}
			}
			return 0, fmt.Errorf("every block of %d ports from %d to %d is taken", blockSize, firstPort, lastPort)
		}
		p := nextPort
		if nextPort++; free(p) {
			return p, nil
		}
	}
}

// claimBlock takes a block of ports that no process has. A block belongs to the process
// that listens on its first port.
func claimBlock() bool {
	for first := firstPort; first < lastPort; first += blockSize {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first))); err == nil {
			claims = append(claims, l)
			nextPort, endPort = first+1, first+blockSize
			return true
		}
	}
	return false
}

func free(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	p.Close()
	return true
}
