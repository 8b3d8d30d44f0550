package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newGuardCommand() *cobra.Command {
	return group("guard", "Show and end what the guard holds", newGuardListCommand(), newGuardReleaseCommand())
}

func newGuardListCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the services with instances that the guard holds",
		Long: `List the services with instances that the guard holds: too many of their owners
fell silent at once, and they are served as they were. "explain SERVICE" shows
which these are.`,
		Args: cobra.NoArgs,
	}
	show.FormatFlag(cmd, &format)
	return client(cmd, func(ctx context.Context, c *connection, _ []string, out io.Writer) error {
		var answer struct {
			Held     int
			Services []struct {
				Service         string
				Held, Instances int
			}
		}
		if err := c.Do(ctx, http.MethodGet, "/v1/skerry/guard", nil, nil, &answer); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, answer)
		}
		t := show.NewTable("Service", "Held", "Instances")
		for _, s := range answer.Services {
			t.Add(s.Service, strconv.Itoa(s.Held), strconv.Itoa(s.Instances))
		}
		return t.Write(out, "the guard holds nothing")
	})
}

func newGuardReleaseCommand() *cobra.Command {
	var all bool
	var format string
	cmd := &cobra.Command{
		Use:   "release SERVICE",
		Short: "Give up the silent owners of a service",
		Long: `Give up the owners of a service that the guard holds: those that are still silent
are lost at once, on all servers, with all that they registered. With -all these
are the owners of every service.`,
		Args: cobra.MaximumNArgs(1),
	}
	show.FormatFlag(cmd, &format)
	cmd.Flags().BoolVar(&all, "all", false, "of every service")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		if all == (len(args) == 1) {
			return usageError("name a service, or give -all")
		}
		query := url.Values{}
		if !all {
			query.Set("service", args[0])
		}
		var answer struct{ Released []string }
		if err := c.Do(ctx, http.MethodPut, "/v1/skerry/guard/release", query, nil, &answer); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, answer)
		}
		for _, id := range answer.Released {
			fmt.Fprintln(out, show.Line(id))
		}
		_, err := fmt.Fprintf(out, "Owners released: %d\n", len(answer.Released))
		return err
	})
}
