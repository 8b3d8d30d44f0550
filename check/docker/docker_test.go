package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// startEngine runs a Docker engine of the test's own and returns its address.
func startEngine(t *testing.T) string {
	t.Helper()
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("no dockerd on the PATH to test against")
	}
	if os.Getuid() != 0 {
		t.Skip("dockerd needs root")
	}
	dir, err := os.MkdirTemp("", "engine") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var log bytes.Buffer
	host := "unix://" + filepath.Join(dir, "docker.sock")
	cmd := exec.Command(dockerd, "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "run"),
		"--pidfile", filepath.Join(dir, "docker.pid"), "-H", host)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Skip("dockerd does not start: ", err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Signal(os.Interrupt); <-ended })

	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if conn, err := net.Dial("unix", strings.TrimPrefix(host, "unix://")); err == nil {
			conn.Close()
			return host
		}
		select {
		case <-poll.C:
		case <-ended:
			t.Skip("dockerd cannot run here: ", lastLine(log.String()))
		case <-deadline:
			t.Fatal("dockerd does not answer")
		}
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// image packs testdata/probe, once under its name and once as the shell.
func image(t *testing.T) io.Reader {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v\n%s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, name := range []string{"probe", "bin/sh"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(program))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(program); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &packed
}

func startContainer(t *testing.T, host string) string {
	t.Helper()
	ctx := t.Context()
	api, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	imported, err := api.ImageImport(ctx, client.ImageImportSource{Source: image(t), SourceName: "-"}, "skerry-probe:test", client.ImageImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, imported); err != nil {
		t.Fatal(err)
	}
	imported.Close()
	made, err := api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:       "web",
		Config:     &container.Config{Image: "skerry-probe:test", Cmd: []string{"/probe", "wait"}},
		HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Skip("containers cannot run here: ", err)
	}
	t.Cleanup(func() {
		api, err := client.New(client.WithHost(host))
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		if _, err := api.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return made.ID
}

func TestDocker(t *testing.T) {
	host := startEngine(t)
	id := startContainer(t, host)
	tests := []struct {
		name   string
		d      skerry.CheckDefinition
		status skerry.Health
		output string // part of it
	}{
		{"passes", skerry.CheckDefinition{DockerContainerID: id, Args: []string{"/probe", "0"}}, skerry.Passing, "out\n"},
		{"warns", skerry.CheckDefinition{DockerContainerID: "web", Args: []string{"/probe", "1"}}, skerry.Warning, "err\n"},
		{"fails", skerry.CheckDefinition{DockerContainerID: id, Args: []string{"/probe", "2"}}, skerry.Critical, "out\n"},
		{"one word", skerry.CheckDefinition{DockerContainerID: id, Args: []string{"/probe"}}, skerry.Passing, "plain\n"},
		{"a line", skerry.CheckDefinition{DockerContainerID: id, Args: []string{"test -f /x && true"}}, skerry.Passing, "/bin/sh was told: test -f /x && true\n"},
		{"a shell", skerry.CheckDefinition{DockerContainerID: id, Shell: "/probe", Args: []string{"a", "b"}}, skerry.Passing, "/probe was told: a b\n"},
		{"truncates", skerry.CheckDefinition{DockerContainerID: id, OutputMaxSize: 2, Args: []string{"/probe"}}, skerry.Passing, "pl ... (captured 2 of 6 bytes)"},
		{"no program", skerry.CheckDefinition{DockerContainerID: id, Args: []string{"/none", "0"}}, skerry.Critical, "/none"},
		{"no container", skerry.CheckDefinition{DockerContainerID: "none", Args: []string{"/probe", "0"}}, skerry.Critical, "No such container"},
	}
	table := check.Table{Kind(host, nil)}
	run := func(ctx context.Context, d skerry.CheckDefinition) check.Result {
		d = table.Clamped(&d, 0)
		p, err := table[0].New(&d)
		if err != nil {
			t.Fatal(err)
		}
		return p.Check(ctx)
	}
	for _, tt := range tests {
		if r := run(t.Context(), tt.d); r.Status != tt.status || !strings.Contains(r.Output, tt.output) {
			t.Errorf("%s: %q", tt.name, r)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r := run(ctx, skerry.CheckDefinition{DockerContainerID: id, Args: []string{"/probe", "wait"}, Timeout: time.Second})
	if r != (check.Result{Status: skerry.Critical, Output: "Timed out (1s) running check\n\nwaits\n"}) {
		t.Errorf("a program that takes too long: %q", r)
	}
}

func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	d := skerry.CheckDefinition{DockerContainerID: "web", Args: []string{"/probe"}, OutputMaxSize: 4096}
	p, err := Kind("", nil).New(&d)
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Check(t.Context()); r.Status != skerry.Critical || !strings.Contains(r.Output, "none.sock") {
		t.Errorf("%q", r)
	}
}
