//go:build !unix

package drill

import (
	"errors"
	"os"
)

// errSignals is the error of drills that need signals.
var errSignals = errors.New("this drill needs signals, which this system does not have")

func interrupt(*os.Process) error { return errSignals }
func suspend(*os.Process) error   { return errSignals }
func resume(*os.Process) error    { return errSignals }
