//go:build unix

package process

import (
	"os"
	"os/exec"
	"syscall"
)

func attributes(cmd *exec.Cmd) *syscall.SysProcAttr {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return cmd.SysProcAttr
}

func ownSession(cmd *exec.Cmd) { attributes(cmd).Setsid = true }

func ownGroup(cmd *exec.Cmd) { attributes(cmd).Setpgid = true }

// kill sends a signal. The caller reports the processes that are left.
func kill(pid int, sig os.Signal) {
	if number, ok := sig.(syscall.Signal); ok {
		syscall.Kill(pid, number)
	}
}

func killGroup(leader int, sig os.Signal) { kill(-leader, sig) }

// groupLives reports whether a process group has a process, be it one that has ended
// and was not waited for yet.
func groupLives(leader int) bool { return syscall.Kill(-leader, 0) != syscall.ESRCH }
