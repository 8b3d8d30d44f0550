//go:build linux

package process

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Strangers of the same user are left alone, also those with another mark.
func TestStrangersAreLeftAlone(t *testing.T) {
	start := func(mark string) *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.Env = Marked(nil, mark)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	own, other := NewMark(), NewMark()
	a, b := start(own), start(other)
	killed, left := Family{Mark: own}.End(5 * time.Second)
	if len(killed) != 1 || killed[0].PID != a.Process.Pid || len(left) != 0 {
		t.Errorf("killed %v, left %v; want %d alone", killed, left, a.Process.Pid)
	}
	if err := b.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a stranger is gone: %v", err)
	}
}

// Without a mark, a process that has left the group is known by its parent.
func TestDescendantsAreFoundWithoutAMark(t *testing.T) {
	cmd := exec.Command("sh", "-c", `setsid sleep 600 & echo $!; wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	line, _ := bufio.NewReader(out).ReadString('\n')
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; { // setsid may not have left yet
		if p, ok := look(strconv.Itoa(child)); ok && p.session == child {
			break
		}
		if time.Now().After(end) {
			t.Fatal("setsid does not leave")
		}
	}
	killed := Family{Leader: cmd.Process.Pid}.Kill()
	if len(killed) != 1 || killed[0].PID != child || killed[0].Name != "sleep" && killed[0].Name != "setsid" {
		t.Errorf("killed %v, want %d", killed, child)
	}
}

func TestNames(t *testing.T) {
	if got := Names([]Member{{PID: 1, Name: "init"}, {PID: 2, Name: "a b"}}); got != "init (1), a b (2)" {
		t.Error(got)
	}
}
