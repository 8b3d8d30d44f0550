//go:build unix

package script

import (
	"bufio"
	"context"
	"errors"
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
		p, err := Kind().New(&skerry.CheckDefinition{Args: tt.args, OutputMaxSize: 10})
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
	p, err := Kind().New(&skerry.CheckDefinition{
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
