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

// Each server's binary, built as the Dockerfile builds it, runs with nothing else in its
// file system, as the user, with the arguments and the configuration of its pod, and
// becomes ready by its probe.
func TestContainers(t *testing.T) {
	if os.Getenv("SKERRY_CONTAINERS") == "" {
		t.Skip("it builds everything another time: make test-deploy does it")
	}
	if os.Geteuid() != 0 {
		t.Skip("root is needed to shut a program up in a folder")
	}
	objects, workloads := all(t)
	built := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", built, "./cmd/skerry", "./examples/timeservice/server")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary := map[string]string{"skerry/skerry": "/skerry", "skerry/skerry-agent": "/skerry", "skerry/time": "/server"}
	ran := 0
	for _, w := range workloads {
		path, ok := binary[w.name]
		if !ok {
			continue // the client waits for an API server
		}
		ran++
		t.Run(w.name, func(t *testing.T) {
			root := t.TempDir()
			c := w.pod.Spec.Containers[0]
			if len(c.Command) > 0 && c.Command[0] != path {
				t.Fatalf("the command is %v", c.Command)
			}
			place(t, filepath.Join(built, path), filepath.Join(root, path))
			mounts(t, root, w, c, objects)
			run(t, root, path, c)
		})
	}
	if ran != len(binary) {
		t.Errorf("%d of %d ran", ran, len(binary))
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

// run runs the container's program on ports of the test's, awaits that it is ready, and
// that it ends well when it is told to.
func run(t *testing.T, root, path string, c corev1.Container) {
	t.Helper()
	port, dns := fmt.Sprint(program.Port(t)), fmt.Sprint(program.Port(t))
	var variables []string
	args := strings.Join(c.Args, "\n")
	for _, e := range c.Env {
		value := "127.0.0.1"
		if strings.HasSuffix(e.Name, "_NAME") {
			value = "name-0"
		}
		variables = append(variables, e.Name+"="+value)
		args = strings.ReplaceAll(args, "$("+e.Name+")", value)
	}
	line := strings.Split(args, "\n")
	if path == "/server" {
		line = append(line, "-listen=:"+port)
	} else {
		line = append(line, "-http-port="+port, "-dns-port="+dns)
	}
	cmd := exec.Command(path, line...)
	cmd.Dir, cmd.Env = "/", append(variables, "GOTRACEBACK=all")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user, NoSetGroups: true}}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = probe(c.ReadinessProbe, "127.0.0.1:"+port); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("not ready: %v", err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err = <-ended:
	case <-time.After(25 * time.Second):
		cmd.Process.Kill()
		err = fmt.Errorf("killed: %w", <-ended)
	}
	if err != nil || t.Failed() {
		t.Errorf("%s %s: %v\n%s", path, strings.Join(line, " "), err, &out)
	}
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
