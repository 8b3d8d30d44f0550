//go:build unix

package child

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's signals from the program: it gets them from us,
// when it is time.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// sendAll passes a signal to the program and to what it started in its group.
func sendAll(p *os.Process, sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return p.Signal(sig)
	}
	if err := syscall.Kill(-p.Pid, number); err != syscall.ESRCH {
		return err
	}
	return os.ErrProcessDone
}

// send passes a signal on. An interrupt goes to the whole group, as from a
// terminal: a shell leaves it to what it runs.
func send(p *os.Process, sig os.Signal) error {
	if sig == os.Interrupt {
		return sendAll(p, sig)
	}
	return p.Signal(sig)
}

// PassedOn are the signals that a program should get from whoever runs it here.
var PassedOn = []os.Signal{
	os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"TERM": syscall.SIGTERM, "CONT": syscall.SIGCONT, "WINCH": syscall.SIGWINCH, "KILL": syscall.SIGKILL,
}
