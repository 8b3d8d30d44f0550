//go:build unix

package script

import (
	"os/exec"
	"syscall"
)

// ownGroup gives the program a process group of its own, killed as one.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
