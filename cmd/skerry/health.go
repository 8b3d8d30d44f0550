package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newHealthCommand() *cobra.Command {
	var format, filter string
	var tags []string
	var passing bool
	cmd := &cobra.Command{
		Use:   "health SERVICE",
		Short: "Show the instances of a service with their checks",
		Args:  cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringArrayVar(&tags, "tag", nil, "only instances with this `tag`; repeatable")
	f.BoolVar(&passing, "passing", false, "only instances whose checks all pass")
	f.StringVar(&filter, "filter", "", "only instances for which the `expression` is true")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		q := c.Options(ctx)
		q.Filter = filter
		entries, _, err := c.Health().ServiceMultipleTags(args[0], tags, passing, q)
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, entries)
		}
		if len(entries) == 0 {
			_, err := fmt.Fprintf(out, "no instances of %s; \"%s explain %s\" shows why\n", show.Line(args[0]), c.Program, show.Line(args[0]))
			return err
		}
		return showHealth(out, entries)
	})
}

func showHealth(out io.Writer, entries []*api.ServiceEntry) error {
	instances := show.NewTable("Node", "ID", "Address", "Health", "Tags")
	checks := show.NewTable("Check", "Node", "Instance", "Status", "Output")
	for _, e := range entries {
		instances.Add(e.Node.Node, e.Service.ID, addressOf(e), e.Checks.AggregatedStatus(), strings.Join(e.Service.Tags, ","))
		for _, k := range e.Checks {
			checks.Add(k.CheckID, k.Node, first(k.ServiceID, "(node)"), k.Status, brief(k.Output))
		}
	}
	if err := instances.Write(out, ""); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return checks.Write(out, "no checks")
}

// addressOf returns where an instance is reached.
func addressOf(e *api.ServiceEntry) string {
	return net.JoinHostPort(first(e.Service.Address, e.Node.Address), strconv.Itoa(e.Service.Port))
}
