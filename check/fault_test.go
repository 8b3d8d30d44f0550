package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry"
)

func TestFaultOf(t *testing.T) {
	dial := func(network, call string, number syscall.Errno) error {
		return &url.Error{Op: "Get", URL: "http://a", Err: &net.OpError{
			Op: "dial", Net: network, Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, Err: os.NewSyscallError(call, number),
		}}
	}
	looked := func(text string) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: text, Name: "a"}}
	}
	for _, tt := range []struct {
		err  error
		want Fault
	}{
		{nil, ""},
		{dial("tcp", "socket", syscall.EMFILE), FaultFiles},
		{dial("tcp", "socket", syscall.ENFILE), FaultFiles},
		{dial("tcp", "connect", syscall.ENOBUFS), FaultMemory},
		{dial("tcp", "connect", syscall.EAGAIN), FaultPorts},
		{dial("tcp", "connect", syscall.EADDRNOTAVAIL), FaultPorts}, // 127.0.0.1 is reachable: it must be the ports
		{dial("unix", "connect", syscall.EAGAIN), ""},
		{dial("tcp", "connect", syscall.ECONNREFUSED), ""},
		{dial("tcp", "connect", syscall.ENETUNREACH), ""},
		{dial("tcp", "connect", syscall.EHOSTUNREACH), ""},
		{dial("tcp", "connect", syscall.ETIMEDOUT), ""},
		{dial("tcp", "read", syscall.ECONNRESET), ""},
		{&os.PathError{Op: "fork/exec", Path: "/bin/sh", Err: syscall.EAGAIN}, FaultProcesses},
		{&os.PathError{Op: "fork/exec", Path: "/bin/sh", Err: syscall.ENOMEM}, FaultMemory},
		{&os.PathError{Op: "fork/exec", Path: "/bin/no", Err: syscall.ENOENT}, ""},
		{&os.PathError{Op: "fork/exec", Path: "/bin/no", Err: syscall.EACCES}, ""},
		{os.NewSyscallError("pipe2", syscall.EMFILE), FaultFiles},
		{looked("dial udp 127.0.0.53:53: socket: too many open files"), FaultFiles},
		{looked("read udp 127.0.0.53:53: connection refused"), ""},
		{&net.DNSError{Err: "no such host", Name: "a", IsNotFound: true}, ""},
		{&net.DNSError{Err: "server misbehaving", Name: "a", IsTemporary: true}, ""},
		{fmt.Errorf("check: %w", context.Canceled), FaultStopped},
		{context.DeadlineExceeded, ""},
		{errors.New("too many open files"), ""}, // the target may say so
	} {
		if got := FaultOf(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// An address that this host cannot have is the definition's mistake, not ours.
func TestNoSuchAddressIsNoFault(t *testing.T) {
	conn, err := net.Dial("tcp", "[fe80::1]:9") // without a zone: no address of ours reaches it
	if err == nil {
		conn.Close()
		t.Skip("this host reaches fe80::1")
	}
	if f := FaultOf(err); f != "" {
		t.Errorf("%v: %q", err, f)
	}
}

func TestAFaultKeepsTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var exhausted atomic.Bool
		g := newRig(t, func(context.Context, string) Result {
			if exhausted.Load() {
				return Result{Output: "socket: too many open files", Fault: FaultFiles}
			}
			return Result{Status: skerry.Passing, Output: "fine"}
		}, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		for i := range 50 {
			g.start(t, fmt.Sprint(i), skerry.CheckDefinition{HTTP: fmt.Sprint("host", i), Interval: 5 * time.Second}, State{
				Result: Result{Status: skerry.Passing, Output: "fine"}})
		}
		pass(time.Minute)
		g.want(t)
		exhausted.Store(true)
		pass(150 * time.Second)
		g.want(t)
		g.Runner.mu.Lock()
		if g.stale != 50 {
			t.Errorf("%d targets are stale, want 50", g.stale)
		}
		g.Runner.mu.Unlock()
		if first, later := strings.Count(log.String(), "cannot be run for"), strings.Count(log.String(), "still cannot be run"); first != 3 || later != 2 {
			t.Errorf("%d lines, %d of them later ones; want 3 and 2:\n%s", first, later, log.String())
		}
		exhausted.Store(false)
		pass(10 * time.Second)
		g.want(t)
		g.Runner.mu.Lock()
		defer g.Runner.mu.Unlock()
		if g.stale != 0 {
			t.Errorf("%d targets are stale still", g.stale)
		}
	})
}

// The rows of a long interval are asked again soon: a check that begins during a
// fault would stay as it was registered for all of that time.
func TestAFaultIsAskedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		g := newRig(t, func(context.Context, string) Result {
			if n++; n == 1 {
				return Result{Fault: FaultPorts}
			}
			return Result{Status: skerry.Passing, Output: "fine"}
		})
		g.start(t, "a", skerry.CheckDefinition{HTTP: "a", Interval: time.Hour}, State{})
		g.want(t)
		pass(faultRetry)
		g.want(t, "a passing fine")
	})
}
