package child

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

// Keeper keeps a program up to date with something that changes: at a change it is
// signalled, or ended and run again. A Keeper is for one goroutine, which selects on
// Ended and Due.
type Keeper struct {
	Spec
	// Reload is sent to the program at a change; nil: it is run again.
	Reload os.Signal
	// Splay is the longest of the random waits before that, so that not all of a
	// fleet do it at once.
	Splay time.Duration
	Log   *slog.Logger

	program *Process
	due     <-chan time.Time
}

// Started reports whether the program was started.
func (k *Keeper) Started() bool { return k.program != nil }

// Start starts the program.
func (k *Keeper) Start() (err error) {
	spec := k.Spec
	spec.Log = k.Log
	k.program, err = Start(spec)
	return err
}

// Ended is closed when the program is over; nil before it was started.
func (k *Keeper) Ended() <-chan struct{} {
	if k.program == nil {
		return nil
	}
	return k.program.Done()
}

// Wait returns how the program ended.
func (k *Keeper) Wait() (int, error) { return k.program.Wait() }

// Changed makes Due fire after the splay. Changes until then are one.
func (k *Keeper) Changed() {
	if k.due != nil {
		return
	}
	wait := time.Duration(0)
	if k.Splay > 0 {
		wait = rand.N(k.Splay)
	}
	k.due = time.After(wait)
}

// Due fires when a change is to be applied; nil when there is none.
func (k *Keeper) Due() <-chan time.Time { return k.due }

// Drop forgets the change.
func (k *Keeper) Drop() { k.due = nil }

// Apply signals the change to the program, or runs it again with the present Spec. A
// program that has ended by itself stays ended: see Ended.
func (k *Keeper) Apply() error {
	k.due = nil
	select {
	case <-k.program.Ended():
		return nil
	default:
	}
	if k.Reload != nil {
		k.Log.Info("telling the program of the change", "signal", k.Reload)
		k.sent(k.Reload, k.program.Signal(k.Reload))
		return nil
	}
	k.Log.Info("running the program again for the change")
	if _, err := k.Stop(); err != nil {
		return err
	}
	return k.Start()
}

// Stop ends the program and returns the result of Wait.
func (k *Keeper) Stop() (int, error) {
	return k.program.Stop(syscall.SIGTERM, k.program.spec.KillAfter)
}

// Pass passes a signal on, as [Process.Pass] does.
func (k *Keeper) Pass(sig os.Signal) { k.sent(sig, k.program.Pass(sig)) }

func (k *Keeper) sent(sig os.Signal, err error) {
	if err != nil {
		k.Log.Warn("signal not passed on", "signal", sig, "error", err)
	}
}

// Number returns a signal's number, which a shell adds to 128 for the exit code of a
// program that it ended.
func Number(sig os.Signal) int {
	if n, ok := sig.(syscall.Signal); ok {
		return int(n)
	}
	return 0
}
