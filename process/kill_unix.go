//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

func ownSession(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
}

func kill(pid int) { syscall.Kill(pid, syscall.SIGKILL) } // who is left is told

func killGroup(leader int) { syscall.Kill(-leader, syscall.SIGKILL) }
