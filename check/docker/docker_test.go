package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/test/dockerd"
)

// startContainer runs testdata/probe, which is the shell there too.
func startContainer(t *testing.T, host string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v\n%s", err, out)
	}
	return dockerd.Run(t, host, "web", binary, []string{"probe", "bin/sh"}, "/probe", "wait")
}

func TestDocker(t *testing.T) {
	host := dockerd.Start(t)
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

// The end of a container is seen without waiting for the interval of its check, and so is its start.
func TestTheEndOfAContainerIsHeard(t *testing.T) {
	host := dockerd.Start(t)
	id := startContainer(t, host)
	api, err := client.New(client.WithHost(host))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	reports := make(chan check.Result, 16)
	r := check.NewRunner(check.Config{Kinds: check.Table{Kind(host, nil)}, Report: func(_ string, r check.Result) { reports <- r }})
	defer r.Close()
	d := skerry.CheckDefinition{DockerContainerID: "web", Args: []string{"/probe", "0"}, Interval: time.Hour}
	if err := r.Start("a", &d, check.State{}); err != nil {
		t.Fatal(err)
	}
	reported := func(want skerry.Health) {
		t.Helper()
		began := time.Now()
		for late := time.After(30 * time.Second); ; {
			select {
			case r := <-reports:
				if r.Status == want {
					t.Logf("%s after %v", want, time.Since(began).Round(time.Millisecond))
					return
				}
			case <-late:
				t.Fatalf("never %s", want)
			}
		}
	}
	reported(skerry.Passing)
	// The engine takes the question for its events when it comes: the second run, after a part of the interval,
	// is far away.
	if _, err := api.ContainerKill(t.Context(), id, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	reported(skerry.Critical)
	if _, err := api.ContainerStart(t.Context(), id, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	reported(skerry.Passing)
}
