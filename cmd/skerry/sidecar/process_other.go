//go:build !unix

package sidecar

import (
	"os"
	"os/exec"
)

func ownGroup(*exec.Cmd) {}

// send ends the program for every signal: elsewhere there is no other one.
func send(p *os.Process, _ os.Signal) error { return p.Kill() }

// PassedOn are the signals that a program should get from whoever runs it here.
var PassedOn = []os.Signal{os.Interrupt}
