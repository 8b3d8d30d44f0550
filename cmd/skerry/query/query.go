// Package query is the command query: prepared queries.
package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "query", Short: "Keep and run prepared queries"}
	cmd.AddCommand(newList(), newGet(), newCreate(), newUpdate(), newDelete(), newExecute(), newExplain())
	return cmd
}

func newList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the prepared queries", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		queries, _, err := c.PreparedQuery().List(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, queries)
		}
		t := show.NewTable("ID", "Name", "Service", "Template")
		for _, q := range queries {
			t.Add(q.ID, q.Name, q.Service.Service, q.Template.Type)
		}
		return t.Write(out, "no prepared queries")
	})
}

func newGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a prepared query",
		Long: "Show a prepared query as JSON, as query create and update take it.", Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		var queries []json.RawMessage
		if err := c.Do(ctx, http.MethodGet, "/v1/query/"+url.PathEscape(args[0]), nil, nil, &queries); err != nil {
			return err
		}
		if len(queries) == 0 {
			return fmt.Errorf("there is no prepared query %q", args[0])
		}
		return show.JSON(out, queries[0])
	})
}

const definition = `DEFINITION is the query in JSON, as the endpoint /v1/query takes it, "-" for
standard input, or "@FILE".`

func newCreate() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "create DEFINITION", Short: "Make a prepared query", Long: "Make a prepared query and print its ID.\n\n" + definition,
		Example: `  skerry query create '{"Name": "web", "Service": {"Service": "web", "OnlyPassing": true}}'`,
		Args:    cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		body, err := object(cmd, args[0])
		if err != nil {
			return err
		}
		var made struct{ ID string }
		if err := c.Do(ctx, http.MethodPost, "/v1/query", nil, body, &made); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, made)
		}
		_, err = fmt.Fprintln(out, made.ID)
		return err
	})
}

func newUpdate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "update ID DEFINITION", Short: "Replace a prepared query", Long: "Replace a prepared query.\n\n" + definition, Args: cobra.ExactArgs(2),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		body, err := object(cmd, args[1])
		if err != nil {
			return err
		}
		if err := c.Do(ctx, http.MethodPut, "/v1/query/"+url.PathEscape(args[0]), nil, body, nil); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, "Query updated:", show.Line(args[0]))
		return err
	})
}

// object reads an argument that must be one object in JSON.
func object(cmd *cobra.Command, argument string) (json.RawMessage, error) {
	data, err := connect.Argument(cmd, argument)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, connect.Usagef("the definition is not an object in JSON: %v", err)
	}
	return json.RawMessage(bytes.TrimSpace(data)), nil
}

func newDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID", Short: "Delete a prepared query", Args: cobra.ExactArgs(1)}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		if _, err := c.PreparedQuery().Delete(args[0], c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Query deleted:", show.Line(args[0]))
		return err
	})
}

func newExecute() *cobra.Command {
	var format, near string
	var limit int
	cmd := &cobra.Command{
		Use: "execute ID or NAME", Short: "Run a prepared query", Long: "Run a prepared query and show the instances that it finds.", Args: cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&near, "near", "", "nearest to this `node` first")
	f.IntVar(&limit, "limit", 0, "at most this `number` of instances; default all")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		if limit < 0 {
			return connect.Usagef("-limit: %d: want 0 or more", limit)
		}
		query := url.Values{}
		if near != "" {
			query.Set("near", near)
		}
		if limit > 0 {
			query.Set("limit", strconv.Itoa(limit))
		}
		var answer json.RawMessage
		if err := c.Do(ctx, http.MethodGet, "/v1/query/"+url.PathEscape(args[0])+"/execute", query, nil, &answer); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, answer)
		}
		var found api.PreparedQueryExecuteResponse
		if err := json.Unmarshal(answer, &found); err != nil {
			return fmt.Errorf("the agent's answer cannot be read: %w", err)
		}
		t := show.NewTable("Node", "ID", "Address", "Health", "DC")
		for _, e := range found.Nodes {
			address := connect.First(e.Service.Address, e.Node.Address)
			t.Add(e.Node.Node, e.Service.ID, net.JoinHostPort(address, strconv.Itoa(e.Service.Port)), e.Checks.AggregatedStatus(), found.Datacenter)
		}
		return t.Write(out, "no instances")
	})
}

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain ID or NAME", Short: "Show which query a name runs",
		Long: "Show as JSON the query that a name runs, with a template's variables filled in.", Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		var answer struct{ Query json.RawMessage }
		if err := c.Do(ctx, http.MethodGet, "/v1/query/"+url.PathEscape(args[0])+"/explain", nil, nil, &answer); err != nil {
			return err
		}
		return show.JSON(out, answer.Query)
	})
}
