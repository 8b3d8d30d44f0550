package acl

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func showPolicy(out io.Writer, p *api.ACLPolicy, format string) error {
	if format == "json" {
		return show.JSON(out, p)
	}
	f := fields{w: out, width: 13}
	f.line("ID", p.ID)
	f.line("Name", p.Name)
	f.line("Description", p.Description)
	f.line("Datacenters", strings.Join(p.Datacenters, ", "))
	f.text("Rules", p.Rules)
	return f.err
}

// which are the flags that name a thing by ID or name.
type which struct{ id, name string }

func (w *which) flags(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&w.id, "id", "", "`ID` of the "+what+", or its beginning")
	cmd.Flags().StringVar(&w.name, "name", "", "`name` of the "+what)
}

func policyID(ctx context.Context, c *connect.Connection, flag, given, name string) (string, error) {
	if len(given) == 36 {
		return given, nil
	}
	list, _, err := c.ACL().PolicyList(c.Options(ctx))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, p := range list {
		if given == "" && name != "" && p.Name == name {
			return p.ID, nil
		}
		ids = append(ids, p.ID)
	}
	if given == "" && name != "" {
		return "", fmt.Errorf("there is no policy named %q", name)
	}
	return picked("policy", flag, given, ids)
}

func newPolicyCreate() *cobra.Command {
	var format, name, description, rules string
	var datacenters []string
	cmd := &cobra.Command{
		Use: "create", Short: "Make a policy", Args: cobra.NoArgs,
		Example: `  skerry acl policy create -name web -rules 'service "web" { policy = "write" }'`,
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the policy")
	f.StringVar(&description, "description", "", "`text` for people")
	f.StringVar(&rules, "rules", "", "`rules` in HCL or JSON, - for standard input, or @FILE")
	f.StringArrayVar(&datacenters, "valid-datacenter", nil, "`datacenter` where it holds; repeatable; default all")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if name == "" {
			return connect.Usagef("-name is needed")
		}
		text, err := connect.Argument(cmd, rules)
		if err != nil {
			return err
		}
		p, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Description: description, Rules: string(text), Datacenters: datacenters}, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showPolicy(out, p, format)
	})
}

func readPolicy(ctx context.Context, c *connect.Connection, w which) (*api.ACLPolicy, error) {
	id, err := policyID(ctx, c, "-id", w.id, w.name)
	if err != nil {
		return nil, err
	}
	p, _, err := c.ACL().PolicyRead(id, c.Options(ctx))
	return p, err
}

func newPolicyRead() *cobra.Command {
	var format string
	var w which
	cmd := &cobra.Command{Use: "read", Short: "Show a policy", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	w.flags(cmd, "policy")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		p, err := readPolicy(ctx, c, w)
		if err != nil {
			return err
		}
		return showPolicy(out, p, format)
	})
}

func newPolicyUpdate() *cobra.Command {
	var format, id, name, description, rules string
	var datacenters []string
	var noMerge bool
	cmd := &cobra.Command{
		Use: "update", Short: "Change a policy", Args: cobra.NoArgs,
		Long: "Change a policy. Other fields stay. With -id, -name is a new name;\nwithout it, -name selects the policy.",
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "`ID` of the policy, or its beginning")
	f.StringVar(&name, "name", "", "`name` of the policy")
	f.StringVar(&description, "description", "", "`text` for people")
	f.StringVar(&rules, "rules", "", "`rules` in HCL or JSON, - for standard input, or @FILE")
	f.StringArrayVar(&datacenters, "valid-datacenter", nil, "`datacenter` where it holds; repeatable")
	noMergeFlag(cmd, &noMerge)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		p, err := readPolicy(ctx, c, which{id, name})
		if err != nil {
			return err
		}
		if noMerge {
			p = &api.ACLPolicy{ID: p.ID, Name: p.Name}
		}
		if name != "" {
			p.Name = name
		}
		if cmd.Flags().Changed("description") {
			p.Description = description
		}
		if cmd.Flags().Changed("rules") {
			text, err := connect.Argument(cmd, rules)
			if err != nil {
				return err
			}
			p.Rules = string(text)
		}
		replace(&p.Datacenters, datacenters)
		updated, _, err := c.ACL().PolicyUpdate(p, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showPolicy(out, updated, format)
	})
}

func newPolicyList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the policies", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list, _, err := c.ACL().PolicyList(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("Name", "ID", "Datacenters", "Description")
		for _, p := range list {
			t.Add(p.Name, p.ID, connect.First(strings.Join(p.Datacenters, ", "), "all"), p.Description)
		}
		return t.Write(out, "no policies")
	})
}

func newPolicyDelete() *cobra.Command {
	var w which
	cmd := &cobra.Command{Use: "delete", Short: "Delete a policy", Args: cobra.NoArgs}
	w.flags(cmd, "policy")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		id, err := policyID(ctx, c, "-id", w.id, w.name)
		if err != nil {
			return err
		}
		if _, err := c.ACL().PolicyDelete(id, c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Policy %q deleted successfully\n", id)
		return err
	})
}
