package program

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// MainTaking is the body of a TestMain whose tests start programs: see [TakeSignals].
func MainTaking(m *testing.M) {
	TakeSignals()
	os.Exit(m.Run())
}

// TakeSignals lets programs that this process starts be ended by signals that it was
// itself started to ignore, as by nohup or in the background of a script: signals that a
// process catches have their default effect in the programs it starts, signals that it
// ignores are ignored by them.
func TakeSignals() {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}
