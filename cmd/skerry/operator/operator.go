// Package operator has the commands for operators of servers: operator, snapshot and
// event.
package operator

import (
	"context"
	"errors"
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
	raft.AddCommand(newListPeers(), newRemovePeer(), newTransferLeader())
	autopilot := &cobra.Command{Use: "autopilot", Short: "How the servers look after each other"}
	autopilot.AddCommand(newGetConfig(), newSetConfig(), newState())
	usage := &cobra.Command{Use: "usage", Short: "How much is registered"}
	usage.AddCommand(newInstances())
	quorum := &cobra.Command{Use: "quorum", Short: "The store of the servers"}
	quorum.AddCommand(newRecover())
	cmd.AddCommand(raft, autopilot, quorum, usage)
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

func newRemovePeer() *cobra.Command {
	var id, address string
	cmd := &cobra.Command{
		Use: "remove-peer", Short: "Take a server out of the servers that decide",
		Long: `Take a server that is gone for good out of the servers that decide. One that still
runs joins again by itself: stop it first.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the server, as list-peers shows it")
	cmd.Flags().StringVar(&address, "address", "", "`address` of the server, as list-peers shows it")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		options := (&api.WriteOptions{}).WithContext(ctx)
		var err error
		switch {
		case (id == "") == (address == ""):
			return fmt.Errorf("give one of -id and -address")
		case id != "":
			err = c.Operator().RaftRemovePeerByID(id, options)
		default:
			err = c.Operator().RaftRemovePeerByAddress(address, options)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Removed the server %s\n", id+address)
		return err
	})
}

func newTransferLeader() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "transfer-leader", Short: "Let another server lead",
		Long: `Let another server lead those that decide, for example before the present leader is
upgraded. Without -id it is any that has a vote and is connected.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the server that is to lead, as list-peers shows it")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		answer, err := c.Operator().RaftLeaderTransfer(id, c.Options(ctx))
		if err != nil {
			return err
		}
		if !answer.Success {
			return errors.New("the lead was not handed over")
		}
		_, err = fmt.Fprintln(out, "Success")
		return err
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
