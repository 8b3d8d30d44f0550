package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/tool/drill"
)

func newDrillCommand() *cobra.Command {
	var keep bool
	var format string
	var slack float64
	var names []string
	var table strings.Builder
	for _, d := range drill.All() {
		names = append(names, d.Name)
		fmt.Fprintf(&table, "  %-16s %s\n", d.Name, d.Short)
	}
	cmd := &cobra.Command{
		Use:   "drill NAME",
		Short: "Play a fault on a sandbox cluster and count what callers see",
		Long: `Play a fault on a cluster of three servers and two agents, processes of this
program on loopback addresses, with join tokens as in production. Programs look
services up, register them, write keys and take locks at the agents meanwhile. The
result has how many calls failed, the longest time without a good answer, and the
promises that did not hold. Without NAME the drills are listed.

` + table.String() + `
It takes half a minute and touches no other cluster. The exit code is 1 when a
promise did not hold.`,
		Example:   "  skerry drill leader-loss",
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: names,
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.BoolVar(&keep, "keep", false, "keep the folder with configuration, data and logs")
	f.Float64Var(&slack, "slack", 1, "multiply the promised times by this `number`, on a host that is slow or busy")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := cmd.OutOrStdout()
		switch {
		case len(args) == 0:
			return listDrills(out, format)
		case slack < 1:
			return usageError(fmt.Sprintf("-slack: %v: want 1 or more", slack))
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		o := drill.Options{Slack: slack, Tell: func(at time.Duration, event string) {
			if format != "json" {
				fmt.Fprintf(out, "%5.1f s  %s\n", at.Seconds(), event)
			}
		}}
		result, err := playDrill(ctx, args[0], keep, o)
		if err != nil {
			return err
		}
		if format == "json" {
			err = show.JSON(out, result)
		} else {
			err = showDrill(out, result)
		}
		if err == nil && len(result.Broken) > 0 {
			err = exitCode(1)
		}
		return err
	}
	return cmd
}

// playDrill plays a drill in a folder, which it removes unless it is to be kept.
func playDrill(ctx context.Context, name string, keep bool, o drill.Options) (_ *drill.Result, err error) {
	if o.Binary, err = os.Executable(); err != nil {
		return nil, err
	}
	if o.Folder, err = os.MkdirTemp("", "skerry-drill-"); err != nil {
		return nil, err
	}
	if !keep {
		defer os.RemoveAll(o.Folder)
	}
	result, err := drill.Run(ctx, name, o)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return result, err
}

func listDrills(out io.Writer, format string) error {
	all := drill.All()
	if format == "json" {
		return show.JSON(out, all)
	}
	t := show.NewTable("Drill", "What happens")
	for _, d := range all {
		t.Add(d.Name, d.Short)
	}
	return t.Write(out, "no drills")
}

func showDrill(out io.Writer, r *drill.Result) error {
	fmt.Fprintln(out)
	t := show.NewTable("Calls at agents", "Made", "Failed", "Longest wait")
	for _, c := range r.Counts {
		t.Add(c.Kind, fmt.Sprint(c.Calls), fmt.Sprint(c.Failed), c.Gap.String())
	}
	if err := t.Write(out, "no calls"); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, f := range r.Facts {
		fmt.Fprintf(out, "After %v %s; promised is %v.\n", f.Took, f.What, f.Promised)
	}
	if len(r.Broken) == 0 {
		fmt.Fprintln(out, "All promises held.")
	}
	for _, b := range r.Broken {
		fmt.Fprintf(out, "Broken: %s.\n", show.Line(b))
	}
	_, err := fmt.Fprintln(out, r.Expect)
	return err
}
