// Package kv is the commands kv and txn.
package kv

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// New returns the command kv.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "kv", Short: "Read and write keys"}
	cmd.AddCommand(newGet(), newPut(), newDelete(), newExport(), newImport())
	return cmd
}

// keyOf returns a key as it is stored: without a slash before it.
func keyOf(argument string) string { return strings.TrimPrefix(argument, "/") }

type getOptions struct {
	base64, detailed, keys, recurse bool
	separator, format               string
}

func newGet() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get [flags] [KEY or PREFIX]",
		Short: "Show a key's value, or all keys with a prefix",
		Long: `Show the value of a key, with -recurse the keys with a prefix and their values,
with -keys the keys only, up to the first separator after the prefix.`,
		Example: `  skerry kv get app/config/port
  skerry kv get -recurse app/
  skerry kv get -keys -separator= app/`,
		Args: cobra.MaximumNArgs(1),
	}
	show.FormatFlag(cmd, &o.format)
	f := cmd.Flags()
	f.BoolVar(&o.base64, "base64", false, "show values in base64")
	f.BoolVar(&o.detailed, "detailed", false, "also flags, indexes and session")
	f.BoolVar(&o.keys, "keys", false, "list the keys with the prefix, without values")
	f.BoolVar(&o.recurse, "recurse", false, "show all keys with the prefix")
	f.StringVar(&o.separator, "separator", "/", "with -keys, list keys with this `text` after the prefix once, up to it")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		key := ""
		if len(args) > 0 {
			key = keyOf(args[0])
		}
		switch {
		case o.keys && o.recurse:
			return connect.Usagef("-keys and -recurse exclude each other")
		case o.keys:
			return o.list(ctx, c, key, out)
		case o.recurse:
			return o.tree(ctx, c, key, out)
		case key == "":
			return connect.Usagef("name a key, or a prefix with -keys or -recurse")
		}
		return o.one(ctx, c, key, out)
	})
}

func (o *getOptions) list(ctx context.Context, c *connect.Connection, prefix string, out io.Writer) error {
	keys, _, err := c.KV().Keys(prefix, o.separator, c.Options(ctx))
	if err != nil {
		return err
	}
	if o.format == "json" {
		return show.JSON(out, append([]string{}, keys...))
	}
	for _, k := range keys {
		fmt.Fprintln(out, show.Line(k))
	}
	return nil
}

func (o *getOptions) tree(ctx context.Context, c *connect.Connection, prefix string, out io.Writer) error {
	pairs, _, err := c.KV().List(prefix, c.Options(ctx))
	if err != nil {
		return err
	}
	if o.format == "json" {
		return show.JSON(out, append(api.KVPairs{}, pairs...))
	}
	for i, p := range pairs {
		if o.detailed {
			if i > 0 {
				fmt.Fprintln(out)
			}
			if err := o.detail(out, p); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out, "%s:%s\n", show.Line(p.Key), o.value(p))
	}
	return nil
}

func (o *getOptions) one(ctx context.Context, c *connect.Connection, key string, out io.Writer) error {
	p, _, err := c.KV().Get(key, c.Options(ctx))
	switch {
	case err != nil:
		return err
	case p == nil:
		return fmt.Errorf("no key exists at: %s", key)
	case o.format == "json":
		return show.JSON(out, p)
	case o.detailed:
		return o.detail(out, p)
	}
	_, err = fmt.Fprintln(out, o.value(p))
	return err
}

func (o *getOptions) value(p *api.KVPair) string {
	if o.base64 {
		return base64.StdEncoding.EncodeToString(p.Value)
	}
	return string(p.Value)
}

func (o *getOptions) detail(out io.Writer, p *api.KVPair) error {
	tw := tabwriter.NewWriter(out, 0, 0, 6, ' ', 0)
	fmt.Fprintf(tw, "CreateIndex\t%d\nFlags\t%d\nKey\t%s\nLockIndex\t%d\nModifyIndex\t%d\nSession\t%s\nValue\t%s\n",
		p.CreateIndex, p.Flags, show.Line(p.Key), p.LockIndex, p.ModifyIndex, connect.First(p.Session, "-"), o.value(p))
	return tw.Flush()
}
