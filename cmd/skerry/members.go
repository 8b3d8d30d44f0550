package main

import (
	"cmp"
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newMembersCommand() *cobra.Command {
	var format string
	var wan bool
	cmd := &cobra.Command{Use: "members", Short: "List the agents and servers", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().BoolVar(&wan, "wan", false, "servers of all datacenters")
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		members, err := c.Agent().Members(wan)
		if err != nil {
			return err
		}
		slices.SortFunc(members, func(a, b *api.AgentMember) int { return cmp.Compare(a.Name, b.Name) })
		if format == "json" {
			return show.JSON(out, members)
		}
		t := show.NewTable("Node", "Address", "Status", "Type", "Build", "DC")
		for _, m := range members {
			build, _, _ := strings.Cut(m.Tags["build"], ":") // a commit may follow
			t.Add(m.Name, net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))), memberStatus(m.Status),
				memberType(m.Tags["role"]), build, m.Tags["dc"])
		}
		return t.Write(out, "no members")
	})
}

// memberStatus names the states as Serf numbers them.
func memberStatus(n int) string {
	names := []string{"none", "alive", "leaving", "left", "failed"}
	if n < 0 || n >= len(names) {
		return strconv.Itoa(n)
	}
	return names[n]
}

func memberType(role string) string {
	switch role {
	case "consul":
		return "server"
	case "node":
		return "client"
	}
	return role
}
