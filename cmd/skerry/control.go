package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

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

func newInfoCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "info", Short: "Show what the agent says of itself", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
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
