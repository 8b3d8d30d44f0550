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

func newCatalogCommand() *cobra.Command {
	return group("catalog", "List datacenters, nodes and services, and compare servers",
		newCatalogDatacentersCommand(), newCatalogNodesCommand(), newCatalogServicesCommand(), newCatalogDiffCommand())
}

func newCatalogDatacentersCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "datacenters", Short: "List the datacenters", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return client(cmd, func(_ context.Context, c *connection, _ []string, out io.Writer) error {
		names, err := c.Catalog().Datacenters()
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, names)
		}
		for _, name := range names {
			fmt.Fprintln(out, show.Line(name))
		}
		return nil
	})
}

func newCatalogNodesCommand() *cobra.Command {
	var format, service, filter, near string
	var meta []string
	var detailed bool
	cmd := &cobra.Command{Use: "nodes", Short: "List the nodes", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "only nodes with an instance of this `service`")
	f.StringVar(&filter, "filter", "", "only nodes for which the `expression` is true")
	f.StringVar(&near, "near", "", "nearest to this `node` first")
	f.StringArrayVar(&meta, "node-meta", nil, "only nodes with this `key=value`; repeatable")
	f.BoolVar(&detailed, "detailed", false, "also metadata and tagged addresses")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		q := c.Options(ctx)
		q.Filter, q.Near = filter, near
		var err error
		if q.NodeMeta, err = pairs("-node-meta", meta); err != nil {
			return err
		}
		nodes, err := nodesOf(c, service, q)
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, nodes)
		}
		t := show.NewTable("Node", "ID", "Address", "DC")
		if detailed {
			t.Head = append(t.Head, "TaggedAddresses", "Meta")
		}
		for _, n := range nodes {
			row := []string{n.Node, n.ID, n.Address, n.Datacenter}
			if detailed {
				row = append(row, words(n.TaggedAddresses), words(n.Meta))
			}
			t.Add(row...)
		}
		return t.Write(out, "No nodes match the given query - try expanding your search")
	})
}

// nodesOf returns all nodes, or each node with an instance of the service once.
func nodesOf(c *connection, service string, q *api.QueryOptions) ([]*api.Node, error) {
	if service == "" {
		nodes, _, err := c.Catalog().Nodes(q)
		return nodes, err
	}
	instances, _, err := c.Catalog().Service(service, "", q)
	if err != nil {
		return nil, err
	}
	nodes := []*api.Node{}
	seen := map[string]bool{}
	for _, i := range instances {
		if seen[i.Node] {
			continue
		}
		seen[i.Node] = true
		nodes = append(nodes, &api.Node{
			ID: i.ID, Node: i.Node, Address: i.Address, Datacenter: i.Datacenter, TaggedAddresses: i.TaggedAddresses, Meta: i.NodeMeta,
			CreateIndex: i.CreateIndex, ModifyIndex: i.ModifyIndex,
		})
	}
	return nodes, nil
}

func newCatalogServicesCommand() *cobra.Command {
	var format, node, filter string
	var tags bool
	var meta []string
	cmd := &cobra.Command{Use: "services", Short: "List the services", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.BoolVar(&tags, "tags", false, "with the tags in use")
	f.StringVar(&node, "node", "", "only services on this `node`")
	f.StringVar(&filter, "filter", "", "only services for which the `expression` is true")
	f.StringArrayVar(&meta, "node-meta", nil, "only services on nodes with this `key=value`; repeatable")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		q := c.Options(ctx)
		q.Filter = filter
		var err error
		if q.NodeMeta, err = pairs("-node-meta", meta); err != nil {
			return err
		}
		services, err := servicesOf(c, node, q)
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, services)
		}
		for _, name := range slices.Sorted(maps.Keys(services)) {
			if tags {
				fmt.Fprintf(out, "%s\t%s\n", show.Line(name), show.Line(strings.Join(services[name], ",")))
			} else {
				fmt.Fprintln(out, show.Line(name))
			}
		}
		return nil
	})
}

// servicesOf returns the names of services with their tags in use.
func servicesOf(c *connection, node string, q *api.QueryOptions) (map[string][]string, error) {
	if node == "" {
		services, _, err := c.Catalog().Services(q)
		return services, err
	}
	n, _, err := c.Catalog().Node(node, q)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, fmt.Errorf("there is no node %q", node)
	}
	services := map[string][]string{}
	for _, s := range n.Services {
		tags := append(services[s.Service], s.Tags...)
		slices.Sort(tags)
		services[s.Service] = slices.Compact(tags)
	}
	return services, nil
}

// pairs reads values such as key=value.
func pairs(flag string, given []string) (map[string]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, p := range given {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, usageError(fmt.Sprintf("%s: %q: want key=value", flag, p))
		}
		out[k] = v
	}
	return out, nil
}

// words shows a map as a=1, b=2.
func words(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ", ")
}
