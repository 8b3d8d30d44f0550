//go:build unix

package script

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

func TestScript(t *testing.T) {
	sh := func(line string) []string { return []string{"sh", "-c", line} }
	tests := []struct {
		args   []string
		status skerry.Health
		output string
	}{
		{sh("echo fine"), skerry.Passing, "fine\n"},
		{sh("echo careful; exit 1"), skerry.Warning, "careful\n"},
		{sh("echo broken; exit 2"), skerry.Critical, "broken\n"},
		{sh("echo oh >&2; exit 255"), skerry.Critical, "oh\n"},
		{sh("kill -TERM $$"), skerry.Critical, ""},
		{sh("printf 0123456789abcdef"), skerry.Passing, "0123456789 ... (captured 10 of 16 bytes)"},
		{[]string{"/does/not/exist"}, skerry.Critical, "fork/exec /does/not/exist: no such file or directory"},
		{sh("sleep 5 & echo bye"), skerry.Passing, "bye\n"}, // a child that holds the output open
	}
	for _, tt := range tests {
		p, err := Kind(nil).New(&skerry.CheckDefinition{Args: tt.args, OutputMaxSize: 10})
		if err != nil {
			t.Fatal(err)
		}
		if r := p.Check(t.Context()); r != (check.Result{Status: tt.status, Output: tt.output}) {
			t.Errorf("%v: %q", tt.args, r)
		}
	}
}

func TestTimeoutKillsTheGroup(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "child")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Kind(nil).New(&skerry.CheckDefinition{
		Args:    []string{"sh", "-c", `echo started; sleep 600 & echo $! >"$0"; wait`, fifo},
		Timeout: 30 * time.Second, OutputMaxSize: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan check.Result, 1)
	go func() { result <- p.Check(ctx) }()

	f, err := os.Open(fifo) // waits for the script to open it
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	r := <-result
	if r != (check.Result{Status: skerry.Critical, Output: "Timed out (30s) running check\n\nstarted\n"}) {
		t.Errorf("%q", r)
	}
	waitGone(t, child)
}

// waitGone waits until a process that was killed is gone, or is nobody's: a zombie
// that whoever adopted it has not collected.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Second)
	for {
		err := syscall.Kill(pid, 0)
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if errors.Is(err, syscall.ESRCH) || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("the script's child %d still runs", pid)
		}
	}
}

// What left the program's group, its session, or was left by its parent ends with
// the timeout too; only a program that ended in time may leave something behind.
func TestTimeoutKillsWhoLeft(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("this system does not tell whose child a process is")
	}
	for name, start := range map[string]string{
		"a session of its own":          `setsid sleep 600 & echo $! >"$0"`,
		"a daemon: nobody's child":      `(setsid sh -c 'echo $$ >"$0"; exec sleep 600' "$0" </dev/null >/dev/null 2>&1 &)`,
		"a daemon without environment":  `env -i PATH="$PATH" setsid sh -c 'echo $$ >"$0"; exec sleep 600' "$0" </dev/null >/dev/null 2>&1 &`,
		"a daemon's child":              `(setsid sh -c 'sleep 600 & echo $! >"$0"; wait' "$0" </dev/null >/dev/null 2>&1 &)`,
		"one that ignores SIGHUP, TERM": `(setsid sh -c 'trap "" HUP TERM; echo $$ >"$0"; while :; do sleep 1; done' "$0" &)`,
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "child")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			p, err := Kind(slog.New(slog.NewTextHandler(&log, nil))).New(&skerry.CheckDefinition{
				Args: []string{"sh", "-c", start + "\nsleep 600", fifo}, Timeout: time.Minute, OutputMaxSize: 100,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan check.Result, 1)
			go func() { result <- p.Check(ctx) }()
			line, err := os.ReadFile(fifo) // waits for whoever writes its number
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(string(line)))
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(child, syscall.SIGKILL)
			cancel()
			select {
			case r := <-result:
				if r.Status != skerry.Critical || !strings.HasPrefix(r.Output, "Timed out") {
					t.Errorf("%+v", r)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the run does not end")
			}
			waitGone(t, child)
			if strings.Contains(log.String(), "level=WARN") {
				t.Errorf("something is said to be left: %s", log.String())
			}
		})
	}
}

func TestWhatAnEndedProgramStartedStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	p, err := Kind(nil).New(&skerry.CheckDefinition{
		Args: []string{"sh", "-c", `setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $! >"$0"`, file}, OutputMaxSize: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Check(t.Context()); r.Status != skerry.Passing {
		t.Fatalf("%+v", r)
	}
	line, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(line)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL)
	if err := syscall.Kill(child, 0); err != nil {
		t.Errorf("the service that the program started is gone: %v", err)
	}
}
