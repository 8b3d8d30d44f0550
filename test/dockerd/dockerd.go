// Package dockerd runs a Docker engine of a test's own.
package dockerd

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
)

// Start runs an engine until the test ends, and returns its address. Where none can run the test is skipped.
func Start(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("dockerd")
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
	cmd := exec.Command(path, "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none",
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

// Run runs a container of an image that has a static program at these paths and nothing else, and returns its
// id. It is removed when the test ends. Where none can run the test is skipped.
func Run(t *testing.T, host, name, binary string, paths []string, command ...string) (id string) {
	t.Helper()
	ctx := t.Context()
	api, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	image := "skerry-" + name + ":test"
	imported, err := api.ImageImport(ctx, client.ImageImportSource{Source: packed(t, binary, paths), SourceName: "-"}, image, client.ImageImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, imported); err != nil {
		t.Fatal(err)
	}
	imported.Close()
	made, err := api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name, Config: &container.Config{Image: image, Cmd: command}, HostConfig: &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		t.Skip("containers cannot run here: ", err)
	}
	t.Cleanup(func() {
		if _, err := api.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return made.ID
}

// packed is an archive with a program at each of the paths.
func packed(t *testing.T, binary string, paths []string) io.Reader {
	t.Helper()
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range paths {
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
	return &out
}
