// Package child runs one program for a tool that stands above it: signals are
// passed on, it is ended with patience and then for good, and its exit code is
// told the way a shell does.
package child

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/process"
)

// Spec says what is run. Command is needed.
type Spec struct {
	Command        []string // program and arguments
	Env            []string // KEY=value; nil: this process's own
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Process is a program that was started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	code int
	err  error
}

// Start starts a program in a process group of its own.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = s.Stdin, s.Stdout, s.Stderr, s.Env
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.code, p.err = exitCode(cmd.Wait())
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns the exit code when the program has ended; 128 and the signal's
// number after it was killed by one.
func (p *Process) Wait() (int, error) {
	<-p.done
	return p.code, p.err
}

// Signal passes a signal on. That the program has ended is no error.
func (p *Process) Signal(sig os.Signal) error { return unlessDone(send(p.cmd.Process, sig)) }

// Stop sends sig to the program and to what it started, kills those that are left
// after grace, and returns what Wait does.
func (p *Process) Stop(sig os.Signal, grace time.Duration) (int, error) {
	if err := unlessDone(sendAll(p.cmd.Process, sig)); err != nil {
		return 0, fmt.Errorf("stopping the program: %w", err)
	}
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		process.Family{Leader: p.cmd.Process.Pid}.Kill() // also who has left the group
		if err := unlessDone(sendAll(p.cmd.Process, syscall.SIGKILL)); err != nil {
			return 0, fmt.Errorf("killing the program: %w", err)
		}
	}
	return p.Wait()
}

func unlessDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
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

// Shell returns the words that let a shell run a command line.
func Shell(line string) []string { return []string{"/bin/sh", "-c", line} }

// Line returns the words of a command line: those that it has, so that signals
// reach the program, or a shell's when it has more than words.
func Line(line string) []string {
	if strings.ContainsAny(line, "\"'`$&|;<>()*?[]#~=%!{}\\\n") {
		return Shell(line)
	}
	return strings.Fields(line)
}

// ParseSignal understands a signal's name, with or without SIG, in any case.
func ParseSignal(name string) (os.Signal, error) {
	if sig, ok := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]; ok {
		return sig, nil
	}
	return nil, skerry.Errorf(skerry.Invalid, "%q is not a signal: want one of %s", name,
		strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
}
