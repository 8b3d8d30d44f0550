// Package sidecar runs a program and keeps it registered for exactly as long as
// it serves: from when its port listens until just before it is told to stop.
package sidecar

import (
	"context"
	"errors"
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
	// Withdraw withdraws it; that it is not there is no error. With a time to drain, the agent lets the service
	// drain first, for that time at most. counted is false where the agent has not waited for the readers.
	Withdraw(ctx context.Context, drain time.Duration) (counted bool, err error)
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
	// Drain is for how long the service drains at most before the program is told to stop; default 0.
	Drain time.Duration
	// Linger is how long the program serves after a withdrawal where the agent has not waited for readers; default 0.
	Linger time.Duration
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
	kept      chan struct{}      // closed when nothing registers any more
	drained   chan bool          // gets whether readers were counted, when a drain is over
	cut       context.CancelFunc // ends the drain; nil before there is one
	withdrawn bool
}

func (s *supervisor) supervise(ctx context.Context) (int, error) {
	// The withdrawal must still reach the agent when ctx has ended.
	background := context.WithoutCancel(ctx)
	keeping, cancel := context.WithCancel(background)
	s.stopKeep, s.kept, s.drained = cancel, make(chan struct{}), make(chan bool, 1)
	go func() {
		defer close(s.kept)
		s.keep(keeping)
	}()
	defer s.withdraw(background)

	cancelled, ended := ctx.Done(), s.program.Ended()
	var due <-chan time.Time // pending is passed on
	var pending os.Signal
	for {
		select {
		case <-ended:
			ended = nil
			s.withdraw(background)
		case <-s.program.Done():
			return s.program.Wait()
		case counted := <-s.drained:
			s.withdrawn = true
			due = time.After(s.pause(counted))
		case <-due:
			due = nil
			s.signal(pending)
		case <-cancelled:
			cancelled = nil
			pending = syscall.SIGTERM
			s.drain(background)
		case sig := <-s.Signals:
			switch {
			case !child.Ends(sig):
				s.signal(sig)
			case s.withdrawn || s.cut != nil:
				// A second signal asks for an end at once.
				due, pending = nil, nil
				s.signal(sig)
			default:
				pending = sig
				s.drain(background)
			}
		}
	}
}

// pause is how long the program serves after the withdrawal.
func (s *supervisor) pause(counted bool) time.Duration {
	if counted {
		return 0
	}
	return s.Linger
}

// signal passes a signal on; none if a second one came first.
func (s *supervisor) signal(sig os.Signal) {
	if sig == nil {
		return
	}
	if err := s.program.Pass(sig); err != nil {
		s.Log.Warn("signal not passed on", "signal", sig, "error", err)
	}
}

// drain ends all registering, and withdraws the service when it has drained; drained tells.
func (s *supervisor) drain(ctx context.Context) {
	if s.withdrawn || s.cut != nil {
		return
	}
	s.stopKeep()
	ctx, s.cut = context.WithTimeout(ctx, s.Drain+withdrawTimeout)
	go func() {
		<-s.kept
		counted, err := s.Registrar.Withdraw(ctx, s.Drain)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			s.Log.Error("service not withdrawn", "error", err)
		}
		s.drained <- counted
	}()
}

// withdraw withdraws the service at once, as its program has ended.
func (s *supervisor) withdraw(ctx context.Context) {
	if s.withdrawn {
		return
	}
	s.withdrawn = true
	s.stopKeep()
	<-s.kept
	if s.cut != nil {
		s.cut()
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTimeout)
	defer cancel()
	if _, err := s.Registrar.Withdraw(ctx, 0); err != nil {
		s.Log.Error("service not withdrawn", "error", err)
	}
}
