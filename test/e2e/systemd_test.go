package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// The service manager hears that a server is ready when it is, that it reads its configuration again, and that it ends.
func TestTheServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "notify") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	hears := func(want string) {
		t.Helper()
		buffer := make([]byte, 4096)
		for {
			if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			n, err := socket.Read(buffer)
			if err != nil {
				t.Fatalf("%q was not heard: %v", want, err)
			}
			if got := string(buffer[:n]); !strings.HasPrefix(got, "STATUS=") || strings.HasPrefix(want, "STATUS=") {
				if !strings.HasPrefix(got, want) {
					t.Fatalf("%q was heard, want %q", got, want)
				}
				return
			}
		}
	}

	// The first of three servers is not ready as long as it does not know whether there is a catalog already.
	ports := []int{program.Port(t), program.Port(t), program.Port(t)}
	at := []string{local(ports[0]), local(ports[1]), local(ports[2])}
	first := startIn(t, []string{"env", "NOTIFY_SOCKET=" + socket.LocalAddr().String()}, server(1, 3, ports[0], at))
	hears("STATUS=")
	for n := 2; n <= 3; n++ {
		start(t, server(n, 3, ports[n-1], at))
	}
	hears("READY=1")
	if r := first.request("GET", "/v1/status/ready", ""); r.status != 200 {
		t.Errorf("ready: %d %s", r.status, r.body)
	}
	first.signal(syscall.SIGHUP)
	hears("RELOADING=1")
	hears("READY=1")
	first.stop()
	hears("STOPPING=1")
}
