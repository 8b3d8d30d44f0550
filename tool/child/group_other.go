//go:build !unix

package child

import (
	"os"
	"syscall"
)

// Without process groups the program is killed for every signal that ends.
const leads = false

// PassedOn are the signals that the parent passes on to a program here.
var PassedOn = []os.Signal{os.Interrupt}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
