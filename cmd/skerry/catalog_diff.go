package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/tool/compare"
)

// diffEvery is the time between two comparisons.
const diffEvery = 500 * time.Millisecond

func newCatalogDiffCommand() *cobra.Command {
	var addresses []string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "diff -server ADDRESS -server ADDRESS",
		Short: "Compare the catalogs of two servers",
		Long: `Compare all nodes, services, instances and checks that two servers answer. Each
difference is a line, and the exit code is 2. Indexes are each server's own, and
are not compared. A change needs a moment from one server to the other, so
catalogs that differ are compared again until they are equal or -wait is over.`,
		Example: `  skerry catalog diff -server 10.0.0.1:8500 -server 10.0.0.2:8500`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringArrayVar(&addresses, "server", nil, "HTTP `address` of a server; needed twice")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Second, "compare again for so long, 0: once")
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		if len(addresses) != 2 {
			return usageError("-server is needed twice")
		}
		var clients [2]*api.Client
		for i, address := range addresses {
			cfg := c.Config
			cfg.Address = address
			var err error
			if clients[i], err = api.NewClient(&cfg); err != nil {
				return usageError(fmt.Sprintf("-server: %s: %v", address, err))
			}
		}
		began := time.Now()
		for {
			a, err := compare.Read(ctx, clients[0], c.Query)
			if err != nil {
				return fmt.Errorf("%s: %w", addresses[0], err)
			}
			b, err := compare.Read(ctx, clients[1], c.Query)
			if err != nil {
				return fmt.Errorf("%s: %w", addresses[1], err)
			}
			differences := compare.Differences(a, b)
			if len(differences) == 0 {
				_, err := fmt.Fprintf(out, "equal: %s\n", a.Counts())
				return err
			}
			if time.Since(began) >= wait {
				return showDifferences(out, addresses, differences)
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(diffEvery):
			}
		}
	})
}

func showDifferences(out io.Writer, servers []string, all []compare.Difference) error {
	for _, d := range all {
		line := fmt.Sprintf("%s %s: ", d.Kind, d.ID)
		if d.Only > 0 {
			line += "only at " + servers[d.Only-1]
		} else {
			line += fmt.Sprintf("%s is %s at %s, %s at %s", d.Field, valueOrNone(d.Value[0]), servers[0], valueOrNone(d.Value[1]), servers[1])
		}
		if _, err := fmt.Fprintln(out, show.Line(line)); err != nil {
			return err
		}
	}
	return exitCode(2)
}

func valueOrNone(v string) string { return first(v, "missing") }
