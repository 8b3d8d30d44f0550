package acl

import (
	"context"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func newTemplateRead() *cobra.Command {
	var format, name string
	cmd := &cobra.Command{Use: "read", Short: "Show a template", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&name, "name", "", "`name` of the template, such as builtin/service")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if name == "" {
			return connect.Usagef("-name is needed")
		}
		t, _, err := c.ACL().TemplatedPolicyReadByName(name, c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, t)
		}
		f := fields{w: out, width: 13}
		f.line("Name", t.TemplateName)
		f.line("Description", t.Description)
		if t.Schema != "" {
			f.line("Variables", "name")
		}
		f.text("Rules", t.Template)
		return f.err
	})
}

func newTemplateList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the templates", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		all, _, err := c.ACL().TemplatedPolicyList(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, all)
		}
		t := show.NewTable("Name", "Description")
		for _, name := range slices.Sorted(maps.Keys(all)) {
			t.Add(name, all[name].Description)
		}
		return t.Write(out, "no templates")
	})
}

func newTemplatePreview() *cobra.Command {
	var format, name string
	var vars []string
	cmd := &cobra.Command{Use: "preview", Short: "Show the policy that a template stands for", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&name, "name", "", "`name` of the template")
	cmd.Flags().StringArrayVar(&vars, "var", nil, "`name:VALUE` of its variable")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		v, err := variables(vars)
		if err != nil {
			return err
		}
		if name == "" {
			return connect.Usagef("-name is needed")
		}
		p, _, err := c.ACL().TemplatedPolicyPreview(&api.ACLTemplatedPolicy{TemplateName: name, TemplateVariables: v}, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showPolicy(out, p, format)
	})
}
