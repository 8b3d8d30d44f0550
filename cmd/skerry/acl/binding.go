package acl

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func showBinding(out io.Writer, b *api.ACLBindingRule, format string) error {
	if format == "json" {
		return show.JSON(out, b)
	}
	f := fields{w: out, width: 13}
	f.line("ID", b.ID)
	f.line("AuthMethod", b.AuthMethod)
	f.line("Description", b.Description)
	f.line("BindType", string(b.BindType))
	f.line("BindName", b.BindName)
	if b.BindVars != nil && b.BindVars.Name != "" {
		f.line("BindVars", "name: "+b.BindVars.Name)
	}
	f.line("Selector", b.Selector)
	return f.err
}

// bindingFlags are the flags of a binding rule.
type bindingFlags struct {
	description, selector, kind, name string
	vars                              []string
}

func (b *bindingFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.description, "description", "", "`text` for people")
	f.StringVar(&b.selector, "selector", "", "`expression` on the verified fields; default all logins")
	f.StringVar(&b.kind, "bind-type", "", "`service`, node, role, policy or templated-policy")
	f.StringVar(&b.name, "bind-name", "", "`name` that is bound; may hold ${…}")
	f.StringArrayVar(&b.vars, "bind-vars", nil, "`name=VALUE` of a templated policy; may hold ${…}")
}

func (b *bindingFlags) fill(cmd *cobra.Command, to *api.ACLBindingRule) error {
	changed := cmd.Flags().Changed
	if changed("description") {
		to.Description = b.description
	}
	if changed("selector") {
		to.Selector = b.selector
	}
	if changed("bind-type") {
		to.BindType = api.BindingRuleBindType(b.kind)
	}
	if changed("bind-name") {
		to.BindName = b.name
	}
	for _, v := range b.vars {
		var value string
		if n, err := fmt.Sscanf(v, "name=%s", &value); n != 1 || err != nil {
			return connect.Usagef("-bind-vars: %q: want name=VALUE", v)
		}
		to.BindVars = &api.ACLTemplatedPolicyVariables{Name: value}
	}
	return nil
}

func bindingID(ctx context.Context, c *connect.Connection, given string) (string, error) {
	if len(given) == 36 {
		return given, nil
	}
	list, _, err := c.ACL().BindingRuleList("", c.Options(ctx))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, b := range list {
		ids = append(ids, b.ID)
	}
	return picked("binding rule", "-id", given, ids)
}

func idFlag(cmd *cobra.Command, id *string) {
	cmd.Flags().StringVar(id, "id", "", "`ID` of the binding rule, or its beginning")
}

func newBindingCreate() *cobra.Command {
	var format, method string
	var b bindingFlags
	cmd := &cobra.Command{
		Use: "create", Short: "Make a binding rule: the grants of a login", Args: cobra.NoArgs,
		Example: `  skerry acl binding-rule create -method k8s -bind-type service -bind-name '${serviceaccount.name}'`,
	}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&method, "method", "", "`name` of the auth method")
	b.flags(cmd)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if method == "" || b.kind == "" || b.name == "" {
			return connect.Usagef("-method, -bind-type and -bind-name are needed")
		}
		to := &api.ACLBindingRule{AuthMethod: method}
		if err := b.fill(cmd, to); err != nil {
			return err
		}
		made, _, err := c.ACL().BindingRuleCreate(to, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showBinding(out, made, format)
	})
}

func readBinding(ctx context.Context, c *connect.Connection, given string) (*api.ACLBindingRule, error) {
	id, err := bindingID(ctx, c, given)
	if err != nil {
		return nil, err
	}
	b, _, err := c.ACL().BindingRuleRead(id, c.Options(ctx))
	if b == nil && err == nil {
		err = fmt.Errorf("there is no binding rule %q", id)
	}
	return b, err
}

func newBindingRead() *cobra.Command {
	var format, id string
	cmd := &cobra.Command{Use: "read", Short: "Show a binding rule", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	idFlag(cmd, &id)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		b, err := readBinding(ctx, c, id)
		if err != nil {
			return err
		}
		return showBinding(out, b, format)
	})
}

func newBindingUpdate() *cobra.Command {
	var format, id string
	var b bindingFlags
	var noMerge bool
	cmd := &cobra.Command{Use: "update", Short: "Change a binding rule", Long: "Change a binding rule. Other fields stay.", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	idFlag(cmd, &id)
	b.flags(cmd)
	noMergeFlag(cmd, &noMerge)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		to, err := readBinding(ctx, c, id)
		if err != nil {
			return err
		}
		if noMerge {
			to = &api.ACLBindingRule{ID: to.ID, AuthMethod: to.AuthMethod}
		}
		if err := b.fill(cmd, to); err != nil {
			return err
		}
		updated, _, err := c.ACL().BindingRuleUpdate(to, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showBinding(out, updated, format)
	})
}

func newBindingList() *cobra.Command {
	var format, method string
	cmd := &cobra.Command{Use: "list", Short: "List the binding rules", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&method, "method", "", "only those of the auth method of this `name`")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list, _, err := c.ACL().BindingRuleList(method, c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("ID", "AuthMethod", "BindType", "BindName", "Selector")
		for _, b := range list {
			t.Add(b.ID, b.AuthMethod, string(b.BindType), b.BindName, b.Selector)
		}
		return t.Write(out, "no binding rules")
	})
}

func newBindingDelete() *cobra.Command {
	var id string
	cmd := &cobra.Command{Use: "delete", Short: "Delete a binding rule", Args: cobra.NoArgs}
	idFlag(cmd, &id)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		id, err := bindingID(ctx, c, id)
		if err != nil {
			return err
		}
		if _, err := c.ACL().BindingRuleDelete(id, c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Binding rule %q deleted successfully\n", id)
		return err
	})
}
