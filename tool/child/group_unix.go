//go:build unix

package child

import (
	"os"
	"syscall"
)

// leads means that a program has a process group, which signals reach.
const leads = true

// PassedOn are the signals that the parent passes on to a program here.
var PassedOn = []os.Signal{
	os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
	"TERM": syscall.SIGTERM, "CONT": syscall.SIGCONT, "WINCH": syscall.SIGWINCH, "KILL": syscall.SIGKILL,
}
