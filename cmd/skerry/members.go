package main

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newMembersCommand() *cobra.Command {
	var format, status, filter string
	var wan, detailed bool
	cmd := &cobra.Command{Use: "members", Short: "List the agents and servers", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().BoolVar(&wan, "wan", false, "servers of all datacenters")
	cmd.Flags().StringVar(&status, "status", "", "only those whose status matches the `expression`, a regular one")
	cmd.Flags().StringVar(&filter, "filter", "", "only those for which the `expression` is true")
	cmd.Flags().BoolVar(&detailed, "detailed", false, "show the tags of each")
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		states, err := regexp.Compile(status)
		if err != nil {
			return usageError("-status: " + err.Error())
		}
		members, err := c.Agent().MembersOpts(api.MembersOpts{WAN: wan, Filter: filter})
		if err != nil {
			return err
		}
		members = slices.DeleteFunc(members, func(m *api.AgentMember) bool { return !states.MatchString(memberStatus(m.Status)) })
		slices.SortFunc(members, func(a, b *api.AgentMember) int { return cmp.Compare(a.Name, b.Name) })
		if format == "json" {
			return show.JSON(out, members)
		}
		if detailed {
			return detailedMembers(out, members)
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

func detailedMembers(out io.Writer, members []*api.AgentMember) error {
	t := show.NewTable("Node", "Address", "Status", "Tags")
	for _, m := range members {
		var tags []string
		for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
			tags = append(tags, k+"="+m.Tags[k])
		}
		t.Add(m.Name, net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port))), memberStatus(m.Status), strings.Join(tags, ","))
	}
	return t.Write(out, "no members")
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
