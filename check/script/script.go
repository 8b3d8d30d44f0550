// Package script is the check that runs a program of this host: exit status 0
// passes, 1 warns, anything else is critical.
package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/process"
)

// linger is how long a program's children may hold its output open after it ended.
const linger = time.Second

// endWithin is how long a killed program's descendants may take to end.
const endWithin = 2 * time.Second

// Kind returns the row of the table. Processes that cannot be ended after a timeout are
// logged; log may be nil.
func Kind(log *slog.Logger) check.Kind {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return check.Kind{
		Name:    "script",
		Matches: func(d *skerry.CheckDefinition) bool { return len(d.Args) > 0 && d.DockerContainerID == "" },
		Timeout: 30 * time.Second,
		Runs:    true,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{"script " + strings.Join(d.Args, " ")} },
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			return &prober{log: log, args: d.Args, timeout: d.Timeout, outputMax: d.OutputMaxSize}, nil
		},
	}
}

type prober struct {
	log       *slog.Logger
	args      []string
	timeout   time.Duration // for the message: the deadline comes with the context
	outputMax int
}

// Check implements [check.Prober]. When ctx ends, the program and all that it started are
// killed. Processes that a program leaves behind when it ends in time are not killed: it
// may have started a service.
func (p *prober) Check(ctx context.Context) check.Result {
	out := check.Capture{Max: p.outputMax}
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = linger
	mark := process.NewMark()
	process.Lead(cmd, mark)
	err := cmd.Run()
	if ctx.Err() != nil {
		p.end(cmd, mark)
		return check.Result{Status: skerry.Critical, Output: TimedOut(p.timeout, out.String())}
	}
	if cmd.ProcessState == nil { // it did not start
		return check.Failed(err)
	}
	result := check.Result{Status: Status(cmd.ProcessState.ExitCode()), Output: out.String()}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) && !errors.Is(err, exec.ErrWaitDelay) {
		return check.Failed(err)
	}
	return result
}

// end ends the descendants of a program that took too long.
func (p *prober) end(cmd *exec.Cmd, mark string) {
	if cmd.Process == nil {
		return
	}
	killed, left := process.Family{Leader: cmd.Process.Pid, Mark: mark}.End(endWithin)
	switch {
	case len(left) > 0:
		p.log.Warn("a check's program took too long and was killed; these that it started could not be and go on", "program", p.args[0], "left", process.Names(left))
	case len(killed) > 0:
		p.log.Info("a check's program took too long; it was killed with processes that had left its group", "program", p.args[0], "killed", process.Names(killed))
	}
}

// Status returns the meaning of a program's exit status.
func Status(code int) skerry.Health {
	switch code {
	case 0:
		return skerry.Passing
	case 1:
		return skerry.Warning
	}
	return skerry.Critical
}

// TimedOut returns the output of a run that took too long.
func TimedOut(after time.Duration, output string) string {
	text := fmt.Sprintf("Timed out (%s) running check", after)
	if output != "" {
		text += "\n\n" + output
	}
	return text
}
