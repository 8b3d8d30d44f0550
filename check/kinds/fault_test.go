//go:build linux

package kinds

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/skerryhq/skerry/check"
)

// Without a file left to open, no kind says anything of its target.
func TestNoFileLeftIsNoResult(t *testing.T) {
	own := check.Table(All(Env{DockerHost: "unix://" + filepath.Join(t.TempDir(), "docker.sock")}))
	probers := map[string]check.Prober{}
	for name, d := range map[string]def{
		"http": {HTTP: "http://127.0.0.1:9/"}, "http, a name": {HTTP: "http://localhost:9/"}, "https": {HTTP: "https://127.0.0.1:9/"},
		"tcp": {TCP: "127.0.0.1:9"}, "tcp, a name": {TCP: "localhost:9"}, "tcp with TLS": {TCP: "127.0.0.1:9", TCPUseTLS: true},
		"tcp, an unknown name": {TCP: "no-such-host.invalid:9"},
		"udp":                  {UDP: "127.0.0.1:9"}, "udp, a name": {UDP: "localhost:9"},
		"grpc": {GRPC: "127.0.0.1:9"}, "grpc, a name": {GRPC: "localhost:9"}, "grpc with TLS": {GRPC: "127.0.0.1:9/a", GRPCUseTLS: true},
		"h2ping": {H2PING: "127.0.0.1:9"}, "h2ping with TLS": {H2PING: "127.0.0.1:9", H2PingUseTLS: true},
		"docker": {DockerContainerID: "c", Args: []string{"true"}},
		"script": {Args: []string{"/bin/true"}}, "os_service": {OSService: "web"},
	} {
		full := own.Clamped(&d, 0)
		kind, _ := own.KindOf(&d)
		for _, k := range own {
			if k.Name == kind {
				p, err := k.New(&full)
				if err != nil {
					t.Fatal(err)
				}
				probers[name] = p
			}
		}
	}
	results := map[string]check.Result{}
	withoutFiles(t, func() {
		for name, p := range probers {
			results[name] = p.Check(t.Context())
		}
	})
	for name, r := range results {
		if r.Fault != check.FaultFiles {
			t.Errorf("%s: %+v, want the fault %q", name, r, check.FaultFiles)
		}
	}
}

// withoutFiles runs f while this process can open no file.
func withoutFiles(t *testing.T, f func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	defer func() {
		for _, f := range taken {
			f.Close()
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
	}()
	for {
		n, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, n)
	}
	f()
}
