package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"
	"github.com/spf13/cobra"
)

func newRTTCommand() *cobra.Command {
	var wan bool
	cmd := &cobra.Command{
		Use: "rtt NODE [NODE]", Short: "Estimate the round trip between two nodes",
		Long: `Estimate the round trip between two nodes by their network coordinates. The second node is
that of the agent by default. With -wan the nodes are servers of any datacenters, as
"members -wan" names them: s1.dc1.`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVar(&wan, "wan", false, "between servers of datacenters")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		find, kind := lanCoordinate, "LAN"
		if wan {
			find, kind = wanCoordinate, "WAN"
		}
		for _, name := range args {
			if strings.LastIndexByte(name, '.') < 1 && wan {
				return usageError("Node names must be specified as <node name>.<datacenter> with -wan")
			}
		}
		if len(args) == 1 {
			name, err := ownName(c, wan)
			if err != nil {
				return err
			}
			args = append(args, name)
		}
		var at [2]*coordinate.Coordinate
		for i, name := range args {
			var err error
			if at[i], err = find(ctx, c, name); err != nil {
				return err
			}
			if at[i] == nil {
				return fmt.Errorf("could not find a coordinate for node %q", name)
			}
		}
		if !at[0].IsCompatibleWith(at[1]) {
			return fmt.Errorf("the coordinates of %q and %q have not the same number of dimensions", args[0], args[1])
		}
		_, err := fmt.Fprintf(out, "Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n", args[0], args[1], at[0].DistanceTo(at[1]).Seconds()*1000, kind)
		return err
	})
}

// ownName is the name of the agent's node, with its datacenter for -wan.
func ownName(c *connection, wan bool) (string, error) {
	self, err := c.Agent().Self()
	if err != nil {
		return "", err
	}
	name := fmt.Sprint(self["Config"]["NodeName"])
	if wan {
		name += "." + fmt.Sprint(self["Config"]["Datacenter"])
	}
	return name, nil
}

// lanCoordinate returns the coordinate of a node of the agent's datacenter; nil if it has none.
func lanCoordinate(ctx context.Context, c *connection, name string) (*coordinate.Coordinate, error) {
	found, _, err := c.Coordinate().Node(name, c.Options(ctx))
	var refused api.StatusError
	if errors.As(err, &refused) && refused.Code == http.StatusNotFound {
		err = nil
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0].Coord, nil
}

// wanCoordinate returns the coordinate of a server; nil if it has none. A name may have dots.
func wanCoordinate(_ context.Context, c *connection, name string) (*coordinate.Coordinate, error) {
	all, err := c.Coordinate().Datacenters()
	for _, dc := range all {
		for _, e := range dc.Coordinates {
			if strings.EqualFold(e.Node+"."+dc.Datacenter, name) {
				return e.Coord, err
			}
		}
	}
	return nil, err
}
