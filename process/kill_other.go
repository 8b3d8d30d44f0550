//go:build !unix

package process

import (
	"os"
	"os/exec"
)

// Where there are no process groups only the program itself is killed.
func ownSession(*exec.Cmd) {}

func ownGroup(*exec.Cmd) {}

func kill(int, os.Signal) {}

func killGroup(int, os.Signal) {}

func groupLives(int) bool { return false }
