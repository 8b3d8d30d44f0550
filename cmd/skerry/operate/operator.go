// Package operate is the commands of who runs the servers: operator, snapshot
// and event.
package operate

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// NewOperator returns the command operator.
func NewOperator() *cobra.Command {
	cmd := &cobra.Command{Use: "operator", Short: "Look after the servers"}
	raft := &cobra.Command{Use: "raft", Short: "The servers that decide"}
	raft.AddCommand(newListPeers())
	autopilot := &cobra.Command{Use: "autopilot", Short: "How the servers look after each other"}
	autopilot.AddCommand(newGetConfig(), newSetConfig(), newState())
	usage := &cobra.Command{Use: "usage", Short: "How much is registered"}
	usage.AddCommand(newInstances())
	cmd.AddCommand(raft, autopilot, usage)
	return cmd
}

func newListPeers() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list-peers", Short: "List the servers that decide", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		peers, err := c.Operator().RaftGetConfiguration(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, peers.Servers)
		}
		t := show.NewTable("Node", "ID", "Address", "State", "Voter", "RaftProtocol")
		for _, s := range peers.Servers {
			state := "follower"
			if s.Leader {
				state = "leader"
			}
			t.Add(s.Node, s.ID, s.Address, state, strconv.FormatBool(s.Voter), s.ProtocolVersion)
		}
		return t.Write(out, "no servers")
	})
}

func newGetConfig() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "get-config", Short: "Show how the servers look after each other", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		conf, err := c.Operator().AutopilotGetConfiguration(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, conf)
		}
		for _, line := range []struct {
			name  string
			value any
		}{
			{"CleanupDeadServers", conf.CleanupDeadServers}, {"LastContactThreshold", conf.LastContactThreshold},
			{"MaxTrailingLogs", conf.MaxTrailingLogs}, {"MinQuorum", conf.MinQuorum}, {"ServerStabilizationTime", conf.ServerStabilizationTime},
			{"RedundancyZoneTag", quoted(conf.RedundancyZoneTag)}, {"DisableUpgradeMigration", conf.DisableUpgradeMigration},
			{"UpgradeVersionTag", quoted(conf.UpgradeVersionTag)},
		} {
			fmt.Fprintf(out, "%s = %v\n", line.name, line.value)
		}
		return nil
	})
}

func quoted(s string) string { return strconv.Quote(s) }

func newState() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "state", Short: "Show how the servers are",
		Long: `Show how the servers are, and how many of them may still be lost. The exit code is
2 when they are not all well.`,
		Args: cobra.NoArgs,
	}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		var state api.OperatorHealthReply
		resp, err := c.Send(ctx, http.MethodGet, "/v1/operator/autopilot/health", nil, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		// 429 is the answer of servers that are not all well.
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusTooManyRequests {
			return connect.Refusal(resp)
		}
		if err := decode(resp.Body, &state); err != nil {
			return err
		}
		if format == "json" {
			err = show.JSON(out, state)
		} else {
			err = showState(out, &state)
		}
		if err == nil && !state.Healthy {
			return connect.ExitCode(2)
		}
		return err
	})
}

func showState(out io.Writer, state *api.OperatorHealthReply) error {
	fmt.Fprintf(out, "Healthy: %v\nFailure tolerance: %d\n\n", state.Healthy, state.FailureTolerance)
	t := show.NewTable("Name", "ID", "Address", "State", "Voter", "Healthy", "Version")
	for _, s := range state.Servers {
		role := "follower"
		if s.Leader {
			role = "leader"
		}
		t.Add(s.Name, s.ID, s.Address, role, strconv.FormatBool(s.Voter), strconv.FormatBool(s.Healthy), s.Version)
	}
	return t.Write(out, "no servers")
}

func newInstances() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "instances", Short: "Count nodes, services and instances", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		usage, _, err := c.Operator().Usage(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, usage.Usage)
		}
		t := show.NewTable("Datacenter", "Nodes", "Services", "Instances", "Billable")
		for _, dc := range slices.Sorted(maps.Keys(usage.Usage)) {
			u := usage.Usage[dc]
			t.Add(dc, strconv.Itoa(u.Nodes), strconv.Itoa(u.Services), strconv.Itoa(u.ServiceInstances), strconv.Itoa(u.BillableServiceInstances))
		}
		return t.Write(out, "nothing is registered")
	})
}
