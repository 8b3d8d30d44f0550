//go:build !unix

package process

import (
	"os/exec"
)

// Where there are no process groups only the program itself is killed.
func ownSession(*exec.Cmd) {}

func kill(int) {}

func killGroup(int) {}
