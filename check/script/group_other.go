//go:build !unix

package script

import "os/exec"

// ownGroup leaves the program's children alone where there are no process groups:
// only the program itself is killed.
func ownGroup(*exec.Cmd) {}
