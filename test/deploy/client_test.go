//go:build linux

package deploy

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/skerryhq/skerry/test/kubeapi"
)

// The client, run as its pod runs it, finds by its service account what a real API server
// has, and is let in by the Role alone.
func TestClientInAPod(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root is needed to shut a program up in a folder")
	}
	s := kubeapi.Start(t)
	objects, workloads := all(t)
	for _, name := range []string{"Namespace /skerry", "ServiceAccount skerry/skerry-client", "Role skerry/skerry-client", "RoleBinding skerry/skerry-client"} {
		s.Do("POST", collections[objects[name].kind.Kind], objects[name].yaml, nil)
	}
	built := filepath.Join(t.TempDir(), "client")
	build := exec.Command("go", "build", "-o", built, "./examples/timeservice/client")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range workloads {
		if w.name != "skerry/time-client-k8s" {
			continue
		}
		c := w.pod.Spec.Containers[0]
		root := t.TempDir()
		place(t, built, filepath.Join(root, c.Command[0]))
		mounts(t, root, w, c, objects)
		account(t, root, s, w.pod.Spec.ServiceAccountName)
		if out := inPod(t, root, s, c); !strings.Contains(out, "0 instances, live") || strings.Contains(out, "forbidden") {
			t.Errorf("the client says %s", out)
		}
		return
	}
	t.Error("there is no client")
}

// account puts a service account's files where the kubelet does.
func account(t *testing.T, root string, s *kubeapi.Server, name string) {
	t.Helper()
	dir := filepath.Join(root, "var/run/secrets/kubernetes.io/serviceaccount")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	place(t, s.CA, filepath.Join(dir, "ca.crt"))
	for file, text := range map[string]string{"token": s.Token("skerry", name), "namespace": "skerry"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// inPod runs the client until it has printed a line, and returns all that it said.
func inPod(t *testing.T, root string, s *kubeapi.Server, c corev1.Container) string {
	t.Helper()
	server, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(c.Command[0], append(c.Args, "-debug=127.0.0.1:0")...)
	cmd.Dir, cmd.Env = "/", []string{"KUBERNETES_SERVICE_HOST=" + server.Hostname(), "KUBERNETES_SERVICE_PORT=" + server.Port()}
	for _, e := range c.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user, NoSetGroups: true}}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	said := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && !strings.Contains(said, " calls, "); time.Sleep(100 * time.Millisecond) {
		data, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		said = string(data)
	}
	return said
}
