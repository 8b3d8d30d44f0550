package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newReloadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "reload", Short: "Let the agent read its configuration again", Args: cobra.NoArgs}
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		if err := c.Agent().Reload(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Configuration reload triggered")
		return err
	})
}

func newLeaveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "leave", Short: "Let the agent withdraw its services and end", Args: cobra.NoArgs}
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		if err := c.Agent().Leave(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Graceful leave complete")
		return err
	})
}

func newForceLeaveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "force-leave NODE", Short: "Remove a server that is down for good",
		Long: `Remove a server that is down for good: it loses its place among the servers that
decide, and its services leave the catalog. On a server that is up it has no effect.

With -wan a server of another datacenter, as "members -wan" names it, is forgotten until it
answers again.`,
		Args: cobra.ExactArgs(1),
	}
	var wan bool
	cmd.Flags().BoolVar(&wan, "wan", false, "forget a server of another datacenter")
	cmd.Flags().Bool("prune", false, "accepted for Consul's sake: a server that left is not listed")
	return client(cmd, func(ctx context.Context, c *connection, args []string, _ io.Writer) error {
		return c.Agent().ForceLeaveOptions(args[0], api.ForceLeaveOpts{WAN: wan}, c.Options(ctx))
	})
}

func newInfoCommand() *cobra.Command {
	var format string
	var ready bool
	cmd := &cobra.Command{
		Use: "info", Short: "Show the agent's own description", Args: cobra.NoArgs,
		Long: `Show the agent's own description. With -ready nothing is shown, and the exit code is 0
when the agent is ready: it has the catalog of its cluster, or is attached to a server.`,
	}
	show.FormatFlag(cmd, &format)
	cmd.Flags().BoolVar(&ready, "ready", false, "only ask whether the agent is ready")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		if ready {
			return c.Do(ctx, http.MethodGet, "/v1/status/ready", nil, nil, nil)
		}
		self, err := c.Agent().Self()
		if err != nil {
			return err
		}
		stats := self["Stats"]
		if format == "json" {
			return show.JSON(out, stats)
		}
		for _, section := range slices.Sorted(maps.Keys(stats)) {
			fmt.Fprintf(out, "%s:\n", show.Line(section))
			values, ok := stats[section].(map[string]any)
			if !ok {
				fmt.Fprintf(out, "\t%s\n", show.Line(fmt.Sprint(stats[section])))
				continue
			}
			for _, k := range slices.Sorted(maps.Keys(values)) {
				fmt.Fprintf(out, "\t%s = %s\n", show.Line(k), show.Line(fmt.Sprint(values[k])))
			}
		}
		return nil
	})
}
