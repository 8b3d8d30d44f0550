// Package child runs one program for a tool. Signals are passed on. The program is ended
// together with its descendants, with patience and then for good, and it is over only
// when none of them lives. Its exit code is that of a shell.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skerryhq/skerry/process"
)

// Rest decides the fate of a program's descendants when it ends by itself. A program that
// is told to end, or killed, ends with all of them.
type Rest int

const (
	// EndRest ends all of it: nothing goes on when the program is over.
	EndRest Rest = iota
	// EndGroup ends processes that are still in the program's group; those that have
	// become daemons go on.
	EndGroup
	// LeaveRest leaves all of it: the program may have been there to start a service.
	LeaveRest
)

// KillAfter is the default of Spec's.
const KillAfter = 30 * time.Second

// Spec describes a run. Command is required.
type Spec struct {
	Command        []string // program and arguments
	Env            []string // KEY=value; nil: this process's own
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Rest           Rest
	// Unmarked adds nothing to Env. A process that has left the program's group and its parent is
	// not known then, and goes on.
	Unmarked bool
	// KillAfter is how long the program and its descendants may take to end when told to;
	// default 30 s.
	KillAfter time.Duration
	Log       *slog.Logger // of processes that cannot be killed; default: discard
}

// Process is a program that was started.
type Process struct {
	spec   Spec
	cmd    *exec.Cmd
	family process.Family
	output *output
	told   atomic.Bool   // the family was told to end
	hurry  chan struct{} // closed when its time is over
	late   sync.Once
	ended  chan struct{}
	done   chan struct{}
	code   int
	err    error // of the waiting
	exit   error // the system's report of the end
}

// Start starts a program in a process group of its own.
func Start(s Spec) (*Process, error) {
	if s.KillAfter == 0 {
		s.KillAfter = KillAfter
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Stdin, cmd.Env = s.Stdin, s.Env
	cmd.WaitDelay = linger // for a standard input that is not read
	mark := ""
	if !s.Unmarked {
		mark = process.NewMark()
	}
	process.Group(cmd, mark)
	out, err := outputTo(cmd, s.Stdout, s.Stderr)
	if err != nil {
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	if err := cmd.Start(); err != nil {
		out.abandon()
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	p := &Process{
		spec: s, cmd: cmd, output: out, family: process.Family{Leader: cmd.Process.Pid, Mark: mark},
		hurry: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
	}
	go p.await()
	return p, nil
}

// await waits until the program and its descendants have ended.
func (p *Process) await() {
	p.output.copy()
	p.exit = p.cmd.Wait()
	if errors.Is(p.exit, exec.ErrWaitDelay) {
		p.exit = nil
	}
	p.code, p.err = exitCode(p.exit)
	close(p.ended)
	p.endRest()
	p.output.finish()
	close(p.done)
}

// Run runs a program until it has ended. When ctx ends first, the program is told
// to end with SIGTERM. Other ends than success are errors.
func Run(ctx context.Context, s Spec) error {
	p, err := Start(s)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if _, err := p.Stop(syscall.SIGTERM, p.spec.KillAfter); err != nil {
			return err
		}
	}
	return p.exit
}

// Ended is closed when the program itself has ended; its descendants may live.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Done is closed when the program is over: it has ended, and so have its descendants, as
// far as Spec.Rest ends them.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns the exit code when the program is over; 128 and the signal's number
// after it was killed by one.
func (p *Process) Wait() (int, error) {
	<-p.done
	return p.code, p.err
}

// Signal passes a signal on, to the program alone. That it has ended is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Pass passes on a signal that this process was sent. One that asks for the end goes to
// all that the program started; processes that live on are killed after Spec.KillAfter.
// Others are as with Signal.
func (p *Process) Pass(sig os.Signal) error {
	if !Ends(sig) {
		return p.Signal(sig)
	}
	p.tell(sig, p.spec.KillAfter)
	return nil
}

// Stop sends sig to the program and its descendants, kills those that are left after
// grace, and returns the result of Wait.
func (p *Process) Stop(sig os.Signal, grace time.Duration) (int, error) {
	p.tell(sig, grace)
	return p.Wait()
}

// tell asks the family to end, and sees to it that it does after a while.
func (p *Process) tell(sig os.Signal, grace time.Duration) {
	select {
	case <-p.done:
		return
	default:
	}
	p.told.Store(true)
	p.family.Signal(sig)
	if !leads {
		p.cmd.Process.Kill()
	}
	go func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
			p.late.Do(func() { close(p.hurry) })
			select {
			case <-p.ended: // the rest is endRest's
			default:
				p.family.Kill()
				p.cmd.Process.Kill()
			}
		}
	}()
}

// exitCode translates how a program ended.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, fmt.Errorf("waiting for the program: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
