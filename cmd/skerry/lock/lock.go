// Package lock is the commands lock and session.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
	"github.com/skerryhq/skerry/tool/child"
	"github.com/skerryhq/skerry/tool/lock"
)

type lockOptions struct {
	limit, retries              int
	name                        string
	try, killAfter              time.Duration
	passStdin, childCode, shell bool
	verbose                     bool
	stdin                       io.Reader
	stdout, stderr              io.Writer
}

// NewLock returns the command lock.
func NewLock() *cobra.Command {
	var o lockOptions
	cmd := &cobra.Command{
		Use:   "lock [flags] PREFIX PROGRAM [ARGUMENT...]",
		Short: "Run a program while a lock is held",
		Long: `Wait for the lock at the key PREFIX/.lock, run a program while it is held, and
free it when the program has ended and all that it started. A signal to stop goes
to all of them; those that live on after -kill-timeout are killed. With -n greater
than 1 up to that many hold it at once. When the lock is lost the program is sent
SIGTERM, and killed 5 s later. It counts as lost when its session has ended, when
the servers refuse to confirm it more often than -monitor-retry, and 12 s
after they were last heard of: before they can give it to another.

The program has SKERRY_LOCK_HELD=true in its environment. The exit code is 0 when
it ran, whatever its own was; see -child-exit-code.`,
		Example: `  skerry lock service/backup ./backup.sh
  skerry lock -n 3 -try 10s -child-exit-code service/batch ./worker`,
		Args: cobra.MinimumNArgs(2),
	}
	f := cmd.Flags()
	f.IntVar(&o.limit, "n", 1, "`number` of holders at once")
	f.StringVar(&o.name, "name", "", "`name` of the session; default names the program and the prefix")
	f.DurationVar(&o.try, "try", 0, "give up after this `time` of waiting; default never")
	f.DurationVar(&o.try, "timeout", 0, "the old word for -try: a `time`")
	f.IntVar(&o.retries, "monitor-retry", 3, "`number` of failing answers in a row that a held lock survives, 2s apart")
	f.DurationVar(&o.killAfter, "kill-timeout", child.KillAfter, "`time` that the program and its descendants have to end before they are killed")
	f.BoolVar(&o.passStdin, "pass-stdin", false, "let the program read standard input")
	f.BoolVar(&o.childCode, "child-exit-code", false, "end with 2 when the program fails")
	f.BoolVar(&o.shell, "shell", true, "let the shell run a program of one word")
	f.BoolVar(&o.verbose, "verbose", false, "print the events of the lock")
	singledash.StopAtArgument(cmd)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		o.stdin, o.stdout, o.stderr = cmd.InOrStdin(), out, cmd.ErrOrStderr()
		return o.run(ctx, c, args[0], args[1:])
	})
}

func (o *lockOptions) run(ctx context.Context, c *connect.Connection, prefix string, program []string) error {
	switch {
	case o.limit < 1:
		return connect.Usagef("-n: %d: want 1 or more", o.limit)
	case o.try < 0:
		return connect.Usagef("-try: %v: want a time that is not negative", o.try)
	case o.killAfter <= 0:
		return connect.Usagef("-kill-timeout: %v: want more than 0", o.killAfter)
	case o.retries < 0:
		return connect.Usagef("-monitor-retry: %d: want 0 or more", o.retries)
	case strings.Trim(prefix, "/") == "":
		return connect.Usagef("the prefix of a lock must not be empty")
	}
	name := connect.First(o.name, fmt.Sprintf("Skerry lock for '%s' at '%s'", strings.Join(program, " "), prefix))
	if o.shell && len(program) == 1 {
		program = child.Shell(program[0])
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, child.PassedOn...)
	defer signal.Stop(signals)
	lo := lock.Options{
		Prefix: strings.TrimPrefix(prefix, "/"), Limit: o.limit, Name: name, Try: o.try, MonitorRetries: o.retries, Signals: signals,
		Child: child.Spec{Command: program, Stdout: o.stdout, Stderr: o.stderr, KillAfter: o.killAfter},
		Log:   slog.New(slog.NewTextHandler(o.stderr, &slog.HandlerOptions{Level: level})),
	}
	if o.passStdin {
		lo.Child.Stdin = o.stdin
	}
	code, err := lock.Run(ctx, c.Client, lo)
	if errors.Is(err, lock.ErrNotHeld) {
		return fmt.Errorf("-try: %w: %v", err, o.try)
	}
	if err == nil && code != 0 && o.childCode {
		return connect.ExitCode(2)
	}
	return err
}
