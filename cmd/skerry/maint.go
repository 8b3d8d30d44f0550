package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newMaintCommand() *cobra.Command {
	var enable, disable bool
	var reason, service string
	cmd := &cobra.Command{
		Use:   "maint",
		Short: "Put the node or one of its services into maintenance",
		Long: `Put the node or one of its services into maintenance, or end it. A
service in maintenance counts as critical: it is left out of DNS and of queries for
passing instances. Without -enable or -disable, list the present maintenance.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&enable, "enable", false, "begin maintenance")
	f.BoolVar(&disable, "disable", false, "end maintenance")
	f.StringVar(&reason, "reason", "", "`text` for people: the reason")
	f.StringVar(&service, "service", "", "`ID` of the service; default the whole node")
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		switch {
		case enable && disable:
			return usageError("-enable and -disable exclude each other")
		case !enable && !disable && (reason != "" || service != ""):
			return usageError("-reason and -service need -enable or -disable")
		case !enable && !disable:
			return listMaintenance(c, out)
		case enable:
			return beginMaintenance(c, service, reason, out)
		}
		return endMaintenance(c, service, out)
	})
}

func beginMaintenance(c *connection, service, reason string, out io.Writer) (err error) {
	what := "Node"
	if service == "" {
		err = c.Agent().EnableNodeMaintenance(reason)
	} else {
		what = "Service " + show.Line(service)
		err = c.Agent().EnableServiceMaintenance(service, reason)
	}
	if err == nil {
		fmt.Fprintf(out, "%s maintenance is now enabled\n", what)
	}
	return err
}

func endMaintenance(c *connection, service string, out io.Writer) (err error) {
	what := "Node"
	if service == "" {
		err = c.Agent().DisableNodeMaintenance()
	} else {
		what = "Service " + show.Line(service)
		err = c.Agent().DisableServiceMaintenance(service)
	}
	if err == nil {
		fmt.Fprintf(out, "%s maintenance is now disabled\n", what)
	}
	return err
}

func listMaintenance(c *connection, out io.Writer) error {
	checks, err := c.Agent().Checks()
	if err != nil {
		return err
	}
	t := show.NewTable("What", "ID", "Reason")
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		if id == skerry.NodeMaintenanceID {
			t.Add("node", checks[id].Node, checks[id].Notes)
		} else if s, ok := strings.CutPrefix(id, skerry.ServiceMaintenanceIDPrefix); ok {
			t.Add("service", s, checks[id].Notes)
		}
	}
	return t.Write(out, "nothing is in maintenance")
}
