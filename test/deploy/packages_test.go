//go:build linux

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// The deb is installed, upgraded and removed in a root of its own, which lies over this host's and is thrown away. It brings the
// binary, valid units, the user and the folders, and leaves data and configuration behind.
func TestPackages(t *testing.T) {
	if os.Getenv("SKERRY_CONTAINERS") == "" {
		t.Skip("it builds everything another time: make test-deploy does it")
	}
	program.Need(t, "dpkg", "unshare", "systemd-analyze", "git")
	dist := t.TempDir()
	build := exec.Command("sh", "scripts/packages.sh")
	build.Dir, build.Env = "../..", append(os.Environ(), "DIST="+dist, "ARCHS="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(dist, "*.deb"))
	rpms, _ := filepath.Glob(filepath.Join(dist, "*.rpm"))
	if len(debs) != 1 || len(rpms) != 1 {
		t.Fatalf("%v %v", debs, rpms)
	}
	over := program.SmallDisk(t, "400m")
	script := filepath.Join(t.TempDir(), "install.sh")
	if err := os.WriteFile(script, []byte(installs), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-m", "sh", script, over, debs[0]).CombinedOutput()
	if strings.Contains(string(out), "cannot lay a root over this one") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, want := range []string{
		"version: Skerry v0.0.0~2", "user: skerry:x:", "conf: root:skerry 750", "data: skerry:skerry 700", "units are valid", "kept: yes", "left: data configuration",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

const installs = `set -eu
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root || { echo "cannot lay a root over this one"; exit 1; }
cp "$2" root/skerry.deb
inside() { chroot root "$@"; }
inside dpkg -i /skerry.deb
echo "version: $(inside skerry version | head -1)"
echo "user: $(inside getent passwd skerry)"
echo "conf: $(inside stat -c '%U:%G %a' /etc/skerry/conf.d)"
echo "data: $(inside stat -c '%U:%G %a' /var/lib/skerry)"
inside systemd-analyze verify --man=no skerry-server.service skerry-agent.service && echo "units are valid"
echo 'SKERRY_OPTIONS=-log-level=debug' > root/etc/skerry/skerry.env
touch root/etc/skerry/conf.d/own.hcl root/var/lib/skerry/file
inside dpkg -i --force-confold /skerry.deb
grep -q log-level=debug root/etc/skerry/skerry.env && echo "kept: yes"
inside dpkg -r skerry
[ ! -e root/usr/bin/skerry ] && [ -e root/var/lib/skerry/file ] && [ -e root/etc/skerry/conf.d/own.hcl ] && echo "left: data configuration"
`
