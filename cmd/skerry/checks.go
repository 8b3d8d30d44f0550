package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newChecksCommand() *cobra.Command {
	return group("checks", "List this agent's checks, and set TTL checks",
		newChecksListCommand(),
		newTTLCommand("pass", "Set a TTL check to passing", api.HealthPassing),
		newTTLCommand("warn", "Set a TTL check to warning", api.HealthWarning),
		newTTLCommand("fail", "Set a TTL check to critical", api.HealthCritical))
}

func newChecksListCommand() *cobra.Command {
	var format, service, state string
	cmd := &cobra.Command{Use: "list", Short: "List the checks that this agent runs", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&service, "service", "", "only checks of this `service`, by its ID or name")
	cmd.Flags().StringVar(&state, "state", "", "only checks in this `state`: passing, warning or critical")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		all, err := c.Agent().ChecksWithFilterOpts("", c.Options(ctx))
		if err != nil {
			return err
		}
		checks := []*api.AgentCheck{}
		for _, id := range slices.Sorted(maps.Keys(all)) {
			k := all[id]
			if (service == "" || service == k.ServiceID || service == k.ServiceName) && (state == "" || state == k.Status) {
				checks = append(checks, k)
			}
		}
		if format == "json" {
			return show.JSON(out, checks)
		}
		t := show.NewTable("Check", "Status", "Service", "Type", "Output")
		for _, k := range checks {
			t.Add(k.CheckID, k.Status, k.ServiceID, k.Type, brief(k.Output))
		}
		return t.Write(out, "no checks")
	})
}

func newTTLCommand(use, short, status string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " CHECK-ID [NOTE]", Short: short, Args: cobra.RangeArgs(1, 2)}
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		note := strings.Join(args[1:], " ")
		if err := c.Agent().UpdateTTLOpts(args[0], note, status, c.Options(ctx)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "Check %s is %s\n", show.Line(args[0]), status)
		return err
	})
}

// brief is the first line of a check's output, for a table.
func brief(output string) string {
	text, _, _ := strings.Cut(strings.TrimSpace(output), "\n")
	return show.Cut(text, 80)
}
