//go:build linux

package deploy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/skerryhq/skerry/test/program"
)

// user is that of the files.
const user = 65532

// The binaries, built as the Dockerfile builds them, run with nothing else in their file systems, as the
// user, with the arguments and the configuration of their pods, and become ready by their probes: the server,
// an agent that joins it by its name, a program at the agent, and one that finds that program there.
func TestContainers(t *testing.T) {
	if os.Getenv("SKERRY_CONTAINERS") == "" {
		t.Skip("it builds everything another time: make test-deploy does it")
	}
	if os.Geteuid() != 0 {
		t.Skip("root is needed to shut a program up in a folder")
	}
	objects, workloads := all(t)
	built := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", built, "./cmd/skerry", "./examples/timeservice/server", "./examples/timeservice/client")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	link := "-server-port=" + fmt.Sprint(program.Port(t))
	server, agent, port := fmt.Sprint(program.Port(t)), fmt.Sprint(program.Port(t)), fmt.Sprint(program.Port(t))
	for _, p := range []struct {
		workload, path, at string
		more               []string
	}{
		{"skerry/skerry", "/skerry", server, []string{"-http-port=" + server, "-dns-port=" + fmt.Sprint(program.Port(t)), link}},
		{"skerry/skerry-agent", "/skerry", agent, []string{"-http-port=" + agent, "-dns-port=" + fmt.Sprint(program.Port(t)), link}},
		{"skerry/time", "/server", port, []string{"-listen=:" + port}},
		{"skerry/time-client", "/client", "", []string{"-debug=127.0.0.1:0"}},
	} {
		at := slices.IndexFunc(workloads, func(w workload) bool { return w.name == p.workload })
		if at < 0 {
			t.Fatalf("there is no %s", p.workload)
		}
		root := t.TempDir()
		c := workloads[at].pod.Spec.Containers[0]
		if len(c.Command) > 0 && c.Command[0] != p.path {
			t.Fatalf("the command is %v", c.Command)
		}
		place(t, filepath.Join(built, p.path), filepath.Join(root, p.path))
		mounts(t, root, workloads[at], c, objects)
		hosts(t, root, "127.0.0.1 skerry-0.skerry-server.skerry\n")
		args, variables := arguments(c)
		for i := range args { // the pods' addresses are one here
			args[i] = strings.ReplaceAll(args[i], "127.0.0.1:8500", "127.0.0.1:"+agent)
		}
		out := run(t, root, p.path, append(args, p.more...), variables)
		await(t, p.workload, func() error {
			if p.at == "" {
				if said := out(); !strings.Contains(said, "1 instances, live") || !strings.Contains(said, " 0 failed") {
					return fmt.Errorf("the client says %s", said)
				}
				return nil
			}
			return probe(c.ReadinessProbe, "127.0.0.1:"+p.at)
		})
	}
}

// hosts gives a program names.
func hosts(t *testing.T, root, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Join(root, "etc"), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "etc/hosts"), []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// await tries until there is no error.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	if err := program.Await(30*time.Second, try); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func place(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// mounts makes the volumes, those of a ConfigMap as the kubelet does: each file is a link
// to one in a folder that is a link to one with a date.
func mounts(t *testing.T, root string, w workload, c corev1.Container, objects map[string]document) {
	t.Helper()
	maps := map[string]map[string]string{}
	for _, v := range w.pod.Spec.Volumes {
		if v.ConfigMap != nil {
			maps[v.Name] = objects["ConfigMap skerry/"+v.ConfigMap.Name].object.(*corev1.ConfigMap).Data
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(root, 0o755))
	for _, m := range c.VolumeMounts {
		dir := filepath.Join(root, m.MountPath)
		files, isMap := maps[m.Name]
		if !isMap {
			must(os.MkdirAll(dir, 0o755))
			must(os.Chown(dir, user, user))
			continue
		}
		const dated = "..2026_01_01_00_00_00.1"
		must(os.MkdirAll(filepath.Join(dir, dated), 0o755))
		must(os.Symlink(dated, filepath.Join(dir, "..data")))
		for name, text := range files {
			must(os.WriteFile(filepath.Join(dir, dated, name), []byte(text), 0o644))
			must(os.Symlink("..data/"+name, filepath.Join(dir, name)))
		}
	}
}

// arguments returns the arguments and variables of a container on a node at 127.0.0.1.
func arguments(c corev1.Container) (args, variables []string) {
	line := strings.Join(c.Args, "\n")
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = "127.0.0.1"
		}
		if strings.HasSuffix(e.Name, "_NAME") {
			value = "name-0"
			if e.Name == "NODE_NAME" {
				value = "node-0"
			}
		}
		variables = append(variables, e.Name+"="+value)
		line = strings.ReplaceAll(line, "$("+e.Name+")", value)
	}
	return strings.Split(line, "\n"), variables
}

// run runs a container's program until the test ends, when it has to end well. It returns what the program said.
func run(t *testing.T, root, path string, args, variables []string) (output func() string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = "/", append(variables, "GOTRACEBACK=all")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user, NoSetGroups: true}}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	output = func() string {
		said, _ := os.ReadFile(log.Name())
		return string(said)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		var err error
		select {
		case err = <-ended:
		case <-time.After(25 * time.Second):
			cmd.Process.Kill()
			err = fmt.Errorf("killed: %w", <-ended)
		}
		log.Close()
		if err != nil || t.Failed() {
			t.Errorf("%s %s: %v\n%s", path, strings.Join(args, " "), err, output())
		}
	})
	return output
}

// probe asks as the kubelet does.
func probe(p *corev1.Probe, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if p.GRPC != nil {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		r, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		if err == nil && r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			err = fmt.Errorf("it is %v", r.GetStatus())
		}
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+p.HTTPGet.Path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode >= 400 {
		return fmt.Errorf("%s %s", resp.Status, body)
	}
	return nil
}
