package bus_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/bus/bustest"
)

// No test may leave a goroutine of a bus or of NATS.
func TestMain(m *testing.M) {
	code := m.Run()
	if code != 0 {
		os.Exit(code)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := leaked()
		if len(left) == 0 {
			os.Exit(0)
		}
		if time.Now().After(deadline) {
			fmt.Printf("%d goroutines are left, the first:\n%s\n", len(left), left[0])
			os.Exit(1)
		}
	}
}

func leaked() (stacks []string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if (strings.Contains(stack, "nats-io") || strings.Contains(stack, "skerry/bus")) && !strings.Contains(stack, "TestMain") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func config(name string, peers ...string) bus.Config {
	return bus.Config{Self: name, Datacenter: "dc1", Listen: "127.0.0.1:0", Peers: peers, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func ignore(string, []byte) {}

// start starts a bus that is closed when the test ends.
func start(t testing.TB, cfg bus.Config, receive func(from string, frame []byte)) *bus.Bus {
	t.Helper()
	b, err := bus.Start(cfg, receive)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// know waits until each of the buses has heard all others.
func know(t testing.TB, buses ...*bus.Bus) {
	t.Helper()
	eventually(t, "all servers know each other", func() bool {
		return !slices.ContainsFunc(buses, func(b *bus.Bus) bool { return len(b.Peers()) < len(buses)-1 })
	})
}

// outside starts a NATS server as others run one, and returns its URL.
func outside(t testing.TB, change func(*server.Options)) (*server.Server, string) {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: bus.DefaultMaxFrame}
	if change != nil {
		change(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("NATS does not start")
	}
	return srv, srv.ClientURL()
}

// joined starts a bus for each server by the configuration that cfg gives, knowing the
// address of the one before.
func joined(t *testing.T, servers map[string]bustest.Receive, cfg func(name string, peers ...string) bus.Config) map[string]bustest.Member {
	members := map[string]bustest.Member{}
	var buses []*bus.Bus
	var peers []string
	for name, receive := range servers {
		b := start(t, cfg(name, peers...), receive)
		buses, members[name] = append(buses, b), b
		if b.Addr() != "" {
			peers = []string{b.Addr()}
		}
	}
	know(t, buses...)
	return members
}
