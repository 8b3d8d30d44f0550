package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/dockerd"
	"github.com/skerryhq/skerry/test/program"
)

// The image of the server runs without root and without a file beside the binary, keeps its data on a volume, and becomes healthy
// by its own word. It is built here without the stage that builds the binary, since that downloads a compiler.
func TestTheImage(t *testing.T) {
	program.Need(t, "docker")
	host := dockerd.Start(t)
	t.Parallel()
	folder := t.TempDir()
	text, err := os.ReadFile(filepath.Join(program.Root(), "deploy/kubernetes/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(text), "FROM scratch AS skerry\n")
	if !found {
		t.Fatal("there is no stage skerry")
	}
	for _, line := range []string{"/etc/ssl/certs/ca-certificates.crt", "/out/skerry", "/out/data"} {
		if !strings.Contains(last, line) {
			t.Errorf("the stage does not copy %s", line)
		}
	}
	write(t, filepath.Join(folder, "Dockerfile"), "FROM scratch\n"+strings.ReplaceAll(last, "--from=build ", ""))
	for _, dir := range []string{"etc/ssl/certs", "out/data"} {
		if err := os.MkdirAll(filepath.Join(folder, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(folder, "etc/ssl/certs/ca-certificates.crt"), "")
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "out/skerry"), "./cmd/skerry")
	build.Dir, build.Env = program.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	docker := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host, "DOCKER_BUILDKIT=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	docker("build", "-q", "-t", "skerry:test", folder)
	docker("run", "-d", "--name", "one", "--network", "none", "-v", "kept:/var/lib/skerry", "skerry:test")
	healthy := func(name string) {
		t.Helper()
		awaitFor(t, 2*patience, "it is healthy", func() error {
			if is := docker("inspect", name, "--format", "{{.State.Health.Status}}"); is != "healthy" {
				return errors.New(is)
			}
			return nil
		})
	}
	healthy("one")
	docker("exec", "one", "/skerry", "kv", "put", "a", "b")
	docker("stop", "one")
	if code := docker("inspect", "one", "--format", "{{.State.ExitCode}} {{.Config.User}}"); code != "0 65532:65532" {
		t.Errorf("it ended with %s", code)
	}
	docker("run", "-d", "--name", "two", "--network", "none", "-v", "kept:/var/lib/skerry", "skerry:test")
	healthy("two")
	if got := docker("exec", "two", "/skerry", "kv", "get", "a"); got != "b" {
		t.Errorf("the volume has %q", got)
	}
	docker("rm", "-f", "two")
}
