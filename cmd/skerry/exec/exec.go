// Package exec is the command exec: it runs a program with keys of the registry as its
// variables, and again when they change.
package exec

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
	"github.com/skerryhq/skerry/tool/child"
	"github.com/skerryhq/skerry/tool/exec"
)

type execOptions struct {
	prefixes  []string
	reload    string
	killAfter time.Duration
	exec.Options
}

// New returns the command exec.
func New() *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec -prefix PREFIX [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a program with variables from keys",
		Long: `Run a program with the keys below the prefixes in its environment: with -prefix
app/config, the value of app/config/port is the variable port. When they change
the program is ended, with its descendants, and run again, or sent -signal. When it
ends by itself its exit code is returned. While the registry does not answer, the last
values stay.

A prefix is a folder: app/config does not take in app/config2. PREFIX@DC reads
that of another datacenter.`,
		Example: `  skerry exec -prefix app/config -upcase -sanitize -- ./server
  skerry exec -prefix global -prefix app -signal SIGHUP -splay 5s -- ./server`,
		Args: cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.prefixes, "prefix", nil, "`folder` of keys; repeatable: a later one wins")
	f.BoolVar(&o.Sanitize, "sanitize", false, "make characters other than letters, digits and _ underscores, / among them")
	f.BoolVar(&o.Upcase, "upcase", false, "make the names upper case")
	f.BoolVar(&o.Pristine, "pristine", false, "give the program no other variables")
	f.BoolVar(&o.Once, "once", false, "do not look for changes")
	f.StringVar(&o.reload, "signal", "", "send this `signal` at a change, in place of running the program again")
	f.DurationVar(&o.Splay, "splay", 0, "longest `time` of the random wait before that")
	f.DurationVar(&o.killAfter, "kill-timeout", child.KillAfter, "`time` that the program has to end before it is killed")
	singledash.StopAtArgument(cmd)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		o.Child = child.Spec{
			Command: args, Stdin: cmd.InOrStdin(), Stdout: out, Stderr: cmd.ErrOrStderr(), Rest: child.EndGroup, KillAfter: o.killAfter,
		}
		return o.run(ctx, c)
	})
}

func (o *execOptions) run(ctx context.Context, c *connect.Connection) error {
	switch {
	case len(o.prefixes) == 0:
		return connect.Usagef("-prefix is needed: a folder of keys")
	case o.Splay < 0:
		return connect.Usagef("-splay: %v: want a time that is not negative", o.Splay)
	case o.killAfter <= 0:
		return connect.Usagef("-kill-timeout: %v: want more than 0", o.killAfter)
	}
	if o.reload != "" {
		var err error
		if o.Reload, err = child.ParseSignal(o.reload); err != nil {
			return connect.Usagef("-signal: %v", err)
		}
	}
	for _, p := range o.prefixes {
		o.Prefixes = append(o.Prefixes, exec.ParsePrefix(p))
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, child.PassedOn...)
	defer signal.Stop(signals)
	o.Signals = signals
	o.Log = slog.New(slog.NewTextHandler(o.Child.Stderr, nil))
	code, err := exec.Run(ctx, explained{c}, o.Options)
	if err == nil && code != 0 {
		return connect.ExitCode(code)
	}
	return err
}

// explained is the keys at an agent, with errors that advise the user.
type explained struct{ c *connect.Connection }

// List implements [exec.Lister].
func (e explained) List(prefix string, q *api.QueryOptions) (api.KVPairs, *api.QueryMeta, error) {
	q.AllowStale = e.c.Query.AllowStale
	if q.Datacenter == "" {
		q.Datacenter = e.c.Query.Datacenter
	}
	pairs, meta, err := e.c.KV().List(prefix, q)
	return pairs, meta, e.c.Explained(err)
}
