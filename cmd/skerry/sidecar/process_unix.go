//go:build unix

package sidecar

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's signals from the program: it gets them from us,
// after the withdrawal.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// send passes a signal on. An interrupt goes to the whole group, as from a
// terminal: a shell leaves it to what it runs.
func send(p *os.Process, sig os.Signal) error {
	if sig == os.Interrupt {
		if err := syscall.Kill(-p.Pid, syscall.SIGINT); err != syscall.ESRCH {
			return err
		}
		return os.ErrProcessDone
	}
	return p.Signal(sig)
}

// PassedOn are the signals that a program should get from whoever runs it here.
var PassedOn = []os.Signal{
	os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}
