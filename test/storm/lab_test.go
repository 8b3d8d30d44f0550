//go:build linux

package storm

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerryhq/skerry/test/program"
)

// lab is a network of its own: a host for each process, each in a network namespace, all of
// them on a bridge in one more. The machine's own network is not touched.
type lab struct {
	t      testing.TB
	prefix string
	hosts  []*host

	mu   sync.Mutex
	cuts map[pair]int // how many faults cut a way
}

// pair is the way from one host to another, by their numbers from 0: the servers first, then the agents.
type pair struct{ from, to int }

// host is the network namespace of a server or an agent.
type host struct {
	ns, address string
	mu          sync.Mutex // of handle
	handle      *os.File
}

// labs counts the labs of this process.
var labs atomic.Int32

// newLab makes n hosts; the test is skipped where that is not possible.
func newLab(t testing.TB, n int) *lab {
	t.Helper()
	program.Need(t, "ip", "tc", "nft", "nsenter")
	sweep()
	l := &lab{t: t, prefix: fmt.Sprintf("storm%d-%d", os.Getpid(), labs.Add(1)), cuts: map[pair]int{}}
	if out, err := exec.Command("ip", "netns", "add", l.bridge()).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces can be made here (root is needed): %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", l.bridge()).Run() })
	if err := l.filter(); err != nil {
		t.Skipf("packets cannot be filtered on a bridge here: %v", err)
	}
	l.ip("-n", l.bridge(), "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.bridge(), "link", "set", "br0", "up")
	for i := range n {
		h := &host{ns: fmt.Sprintf("%s-h%d", l.prefix, i+1), address: fmt.Sprintf("10.99.0.%d", i+1)}
		l.ip("netns", "add", h.ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", h.ns).Run() })
		l.ip("-n", h.ns, "link", "set", "lo", "up")
		l.ip("-n", h.ns, "link", "add", "eth0", "type", "veth", "peer", "name", port(i), "netns", l.bridge())
		l.ip("-n", l.bridge(), "link", "set", port(i), "master", "br0", "up")
		l.ip("-n", h.ns, "addr", "add", h.address+"/24", "dev", "eth0")
		l.ip("-n", h.ns, "link", "set", "eth0", "up")
		handle, err := os.Open("/run/netns/" + h.ns)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		h.handle = handle
		l.hosts = append(l.hosts, h)
	}
	return l
}

// addresses are those of the first n hosts.
func (l *lab) addresses(n int) (out []string) {
	for _, h := range l.hosts[:n] {
		out = append(out, h.address)
	}
	return out
}

func (l *lab) bridge() string { return l.prefix + "-sw" }

// port is the name of a host's port of the bridge.
func port(i int) string { return fmt.Sprint("p", i+1) }

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// sweep ends what labs of processes that are gone have left: their servers, then their
// namespaces.
func sweep() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, "storm")
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if !ours || err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		left, _ := exec.Command("ip", "netns", "pids", name).Output()
		for _, field := range strings.Fields(string(left)) {
			if pid, err := strconv.Atoi(field); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		exec.Command("ip", "netns", "del", name).Run()
	}
}

// cut loses all packets on these ways, without a word to either side, until heal is called.
func (l *lab) cut(ways ...pair) (heal func()) {
	l.change(1, ways)
	return sync.OnceFunc(func() { l.change(-1, ways) })
}

func (l *lab) change(by int, ways []pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range ways {
		if l.cuts[w] += by; l.cuts[w] == 0 {
			delete(l.cuts, w)
		}
	}
	if err := l.filter(); err != nil {
		l.t.Errorf("the network cannot be changed: %v", err)
	}
}

// filter makes the bridge's rules those of the cuts, in one step. Address resolution goes
// on: a host must not learn of a cut by it.
func (l *lab) filter() error {
	var rules strings.Builder
	rules.WriteString("table bridge storm\ndelete table bridge storm\ntable bridge storm {\n chain cuts {\n  type filter hook forward priority 0\n")
	for w := range l.cuts {
		fmt.Fprintf(&rules, "  iifname %q oifname %q ether type ip drop\n", port(w.from), port(w.to))
	}
	rules.WriteString(" }\n}\n")
	cmd := exec.Command("nsenter", "--net=/run/netns/"+l.bridge(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w %s", err, out)
	}
	return nil
}

// slow bounds what reaches a host, until heal is called. Packets wait in a queue of half a
// second, and are lost beyond it.
func (l *lab) slow(i int, rate string) (heal func()) {
	l.t.Helper()
	tc := func(args ...string) error {
		out, err := exec.Command("tc", append([]string{"-n", l.bridge(), "qdisc"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc %v: %w %s", args, err, out)
		}
		return nil
	}
	if err := tc("replace", "dev", port(i), "root", "tbf", "rate", rate, "burst", "4kb", "latency", "500ms"); err != nil {
		l.t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := tc("del", "dev", port(i), "root"); err != nil {
			l.t.Error(err)
		}
	})
}

// slowFrom bounds what reaches a host from these addresses, until heal is called. Packets wait in a queue of half a second,
// and are lost beyond it.
func (l *lab) slowFrom(i int, rate string, from []string) (heal func()) {
	l.t.Helper()
	tc := func(kind, do string, args ...string) {
		l.t.Helper()
		line := append([]string{"-n", l.bridge(), kind, do, "dev", port(i)}, args...)
		if out, err := exec.Command("tc", line...).CombinedOutput(); err != nil {
			l.t.Errorf("tc %v: %v %s", line, err, out)
		}
	}
	tc("qdisc", "add", "root", "handle", "1:", "htb")
	tc("class", "add", "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit")
	tc("class", "add", "parent", "1:1", "classid", "1:2", "htb", "rate", "10gbit")
	tc("qdisc", "add", "parent", "1:2", "tbf", "rate", rate, "burst", "4kb", "latency", "500ms")
	for _, address := range from {
		tc("filter", "add", "parent", "1:", "protocol", "ip", "u32", "match", "ip", "src", address+"/32", "flowid", "1:2")
	}
	return sync.OnceFunc(func() { tc("qdisc", "del", "root") })
}

// enter moves this thread to the host.
func (h *host) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return unix.Setns(int(h.handle.Fd()), unix.CLONE_NEWNET)
}

// close ends the use of the host. An HTTP client may still try to dial from it, and cannot.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handle.Close()
}

// in is the beginning of a command line that runs a program on the host.
func (h *host) in() []string { return []string{"nsenter", "--net=" + h.handle.Name()} }

// dial connects from the host.
func (h *host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		// It is never unlocked, so the thread ends with the goroutine, and nothing else
		// runs on the host by mistake.
		runtime.LockOSThread()
		if err := h.enter(); err != nil {
			done <- dialed{nil, fmt.Errorf("enter %s: %w", h.ns, err)}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		done <- dialed{conn, err}
	}()
	made := <-done
	return made.conn, made.err
}
