package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// Clients of other languages work unchanged. Old releases of theirs send GET where something
// changes: for these there is legacy_api.
func TestPythonConsul(t *testing.T) {
	asPython(t, start(t, map[string]any{"legacy_api": true}), debianModule(t, "python3-consul"))
}

func TestPythonConsul2(t *testing.T) {
	asPython(t, start(t, nil), debianModule(t, "python3-consul2"))
}

// asPython runs the program with the consul module in a folder.
func asPython(t *testing.T, a *agent, modules string) {
	t.Helper()
	program.Need(t, debianPython)
	client := exec.Command(debianPython, "testdata/client.py", fmt.Sprint(portOf(t, a.http)))
	client.Env = append(os.Environ(), "PYTHONPATH="+modules)
	mustBeDone(t, client)
}

// debianPython is the one that Debian's modules are for.
const debianPython = "/usr/bin/python3"

// debianModule unpacks a package of Debian's into a folder, and returns where its modules
// are: two of one name cannot be installed at a time.
func debianModule(t *testing.T, name string) string {
	t.Helper()
	program.Need(t, "apt-get", "dpkg-deb")
	dir := t.TempDir()
	download := exec.Command("apt-get", "-o", "DPkg::Lock::Timeout=300", "download", name)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		t.Skipf("apt-get download %s: %v\n%s", name, err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(debs) != 1 {
		t.Fatalf("there are %d packages of %s", len(debs), name)
	}
	if out, err := exec.Command("dpkg-deb", "-x", debs[0], dir).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	return filepath.Join(dir, "usr/lib/python3/dist-packages")
}

func TestNpmConsul(t *testing.T) {
	program.Need(t, "node", "npm")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js"} {
		text, err := os.ReadFile(filepath.Join("testdata/npm", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm ci: %v\n%s", err, out)
	}
	client := exec.Command("node", "client.js", fmt.Sprint(portOf(t, start(t, nil).http)))
	client.Dir = dir
	mustBeDone(t, client)
}

// mustBeDone runs a client's program to its end.
func mustBeDone(t *testing.T, c *exec.Cmd) {
	t.Helper()
	out, err := c.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Errorf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
	}
}
