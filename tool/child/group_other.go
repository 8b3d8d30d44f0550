//go:build !unix

package child

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// send ends the program for every signal: elsewhere there is no other one.
func send(p *os.Process, _ os.Signal) error { return p.Kill() }

func sendAll(p *os.Process, _ os.Signal) error { return p.Kill() }

// PassedOn are the signals that a program should get from whoever runs it here.
var PassedOn = []os.Signal{os.Interrupt}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
