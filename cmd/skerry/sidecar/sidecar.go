// Package sidecar runs a program and keeps it registered for exactly as long as
// it serves: from when its port listens until just before it is told to stop.
package sidecar

import (
	"context"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/tool/child"
)

// Registrar registers the service that a program offers. Its methods end with
// their context.
type Registrar interface {
	// Register registers the service with its checks, anew or again.
	Register(ctx context.Context) error
	// Withdraw withdraws it; that it is not there is no error.
	Withdraw(ctx context.Context) error
	// Confirm renews the service at the agent. It returns false when the agent does not
	// know the service.
	Confirm(ctx context.Context) (known bool, err error)
}

// Options configures a run. Command and Registrar are required.
type Options struct {
	Command        []string // program and arguments
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Listens are addresses, one of which the program listens on once it serves;
	// empty: it is registered at once.
	Listens   []string
	Registrar Registrar
	// Every is the time between confirmations, and between tries to register;
	// default 2 s.
	Every time.Duration
	// Drain is how long the program serves after its withdrawal; default 0.
	Drain time.Duration
	// Signals are passed on to the program. Those that ask it to stop come after the
	// withdrawal.
	Signals <-chan os.Signal
	Log     *slog.Logger // default: discard
}

// withdrawTimeout bounds how long an agent that hangs delays the end.
const withdrawTimeout = 2 * time.Second

// Run runs the program until it ends, and returns its exit code; 128 and the
// signal's number after it was killed by one. An error means that the program
// could not be started. The end of ctx stops the program like SIGTERM.
func Run(ctx context.Context, o Options) (int, error) {
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	program, err := child.Start(child.Spec{
		Command: o.Command, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Rest: child.EndGroup, Log: o.Log,
	})
	if err != nil {
		return 0, err
	}
	s := &supervisor{Options: o, program: program}
	return s.supervise(ctx)
}

type supervisor struct {
	Options
	program   *child.Process
	stopKeep  context.CancelFunc
	kept      chan struct{} // closed when nothing registers any more
	withdrawn bool
}

func (s *supervisor) supervise(ctx context.Context) (int, error) {
	// The withdrawal must still reach the agent when ctx has ended.
	background := context.WithoutCancel(ctx)
	keeping, cancel := context.WithCancel(background)
	s.stopKeep, s.kept = cancel, make(chan struct{})
	go func() {
		defer close(s.kept)
		s.keep(keeping)
	}()
	defer s.withdraw(background)

	cancelled, ended := ctx.Done(), s.program.Ended()
	var drained <-chan time.Time
	var pending os.Signal
	for {
		select {
		case <-ended:
			ended = nil
			s.withdraw(background)
		case <-s.program.Done():
			return s.program.Wait()
		case <-drained:
			drained = nil
			s.signal(pending)
		case <-cancelled:
			cancelled = nil
			drained, pending = s.stop(background, syscall.SIGTERM)
		case sig := <-s.Signals:
			switch {
			case !child.Ends(sig):
				s.signal(sig)
			case s.withdrawn:
				// A second signal asks for an end at once.
				drained = nil
				s.signal(sig)
			default:
				drained, pending = s.stop(background, sig)
			}
		}
	}
}

// stop withdraws the service and lets the caller pass the signal on when the
// drain time is over.
func (s *supervisor) stop(ctx context.Context, sig os.Signal) (<-chan time.Time, os.Signal) {
	s.withdraw(ctx)
	return time.After(s.Drain), sig
}

func (s *supervisor) signal(sig os.Signal) {
	if err := s.program.Pass(sig); err != nil {
		s.Log.Warn("signal not passed on", "signal", sig, "error", err)
	}
}

// withdraw ends all registering, then withdraws; once.
func (s *supervisor) withdraw(ctx context.Context) {
	if s.withdrawn {
		return
	}
	s.withdrawn = true
	s.stopKeep()
	<-s.kept
	ctx, cancel := context.WithTimeout(ctx, withdrawTimeout)
	defer cancel()
	if err := s.Registrar.Withdraw(ctx); err != nil {
		s.Log.Error("service not withdrawn", "error", err)
	}
}
