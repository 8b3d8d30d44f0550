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

func showRole(out io.Writer, r *api.ACLRole, format string) error {
	if format == "json" {
		return show.JSON(out, r)
	}
	f := fields{w: out, width: 13}
	f.line("ID", r.ID)
	f.line("Name", r.Name)
	f.line("Description", r.Description)
	f.grants(r.Policies, r.ServiceIdentities, r.NodeIdentities, r.TemplatedPolicies)
	return f.err
}

func roleID(ctx context.Context, c *connect.Connection, flag, given, name string) (string, error) {
	if len(given) == 36 {
		return given, nil
	}
	list, _, err := c.ACL().RoleList(c.Options(ctx))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range list {
		if given == "" && name != "" && r.Name == name {
			return r.ID, nil
		}
		ids = append(ids, r.ID)
	}
	if given == "" && name != "" {
		return "", fmt.Errorf("there is no role named %q", name)
	}
	return picked("role", flag, given, ids)
}

// fillRole sets the grants of r from the flags.
func fillRole(ctx context.Context, c *connect.Connection, r *api.ACLRole, g *grants) error {
	var t api.ACLToken
	if err := fill(ctx, c, &t, g, &roles{}); err != nil {
		return err
	}
	replace(&r.Policies, t.Policies)
	replace(&r.ServiceIdentities, t.ServiceIdentities)
	replace(&r.NodeIdentities, t.NodeIdentities)
	replace(&r.TemplatedPolicies, t.TemplatedPolicies)
	return nil
}

func newRoleCreate() *cobra.Command {
	var format, name, description string
	var g grants
	cmd := &cobra.Command{Use: "create", Short: "Make a role", Args: cobra.NoArgs, Example: "  skerry acl role create -name ops -policy-name global-management"}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&name, "name", "", "`name` of the role")
	cmd.Flags().StringVar(&description, "description", "", "`text` for people")
	g.flags(cmd)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if name == "" {
			return connect.Usagef("-name is needed")
		}
		r := &api.ACLRole{Name: name, Description: description}
		if err := fillRole(ctx, c, r, &g); err != nil {
			return err
		}
		made, _, err := c.ACL().RoleCreate(r, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showRole(out, made, format)
	})
}

func readRole(ctx context.Context, c *connect.Connection, w which) (*api.ACLRole, error) {
	id, err := roleID(ctx, c, "-id", w.id, w.name)
	if err != nil {
		return nil, err
	}
	r, _, err := c.ACL().RoleRead(id, c.Options(ctx))
	if r == nil && err == nil {
		err = fmt.Errorf("there is no role %q", id)
	}
	return r, err
}

func newRoleRead() *cobra.Command {
	var format string
	var w which
	cmd := &cobra.Command{Use: "read", Short: "Show a role", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	w.flags(cmd, "role")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		r, err := readRole(ctx, c, w)
		if err != nil {
			return err
		}
		return showRole(out, r, format)
	})
}

func newRoleUpdate() *cobra.Command {
	var format, description string
	var w which
	var g grants
	var noMerge bool
	cmd := &cobra.Command{
		Use: "update", Short: "Change a role", Args: cobra.NoArgs,
		Long: "Change a role. The flags replace the role's grants of that kind;\nothers stay. With -id, -name is a new name.",
	}
	show.FormatFlag(cmd, &format)
	w.flags(cmd, "role")
	cmd.Flags().StringVar(&description, "description", "", "`text` for people")
	g.flags(cmd)
	noMergeFlag(cmd, &noMerge)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		r, err := readRole(ctx, c, w)
		if err != nil {
			return err
		}
		if noMerge {
			r = &api.ACLRole{ID: r.ID, Name: r.Name}
		}
		if w.name != "" {
			r.Name = w.name
		}
		if cmd.Flags().Changed("description") {
			r.Description = description
		}
		if err := fillRole(ctx, c, r, &g); err != nil {
			return err
		}
		updated, _, err := c.ACL().RoleUpdate(r, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showRole(out, updated, format)
	})
}

func newRoleList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the roles", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list, _, err := c.ACL().RoleList(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("Name", "ID", "Policies", "Description")
		for _, r := range list {
			t.Add(r.Name, r.ID, linkNames(r.Policies), r.Description)
		}
		return t.Write(out, "no roles")
	})
}

func newRoleDelete() *cobra.Command {
	var w which
	cmd := &cobra.Command{Use: "delete", Short: "Delete a role", Args: cobra.NoArgs}
	w.flags(cmd, "role")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		id, err := roleID(ctx, c, "-id", w.id, w.name)
		if err != nil {
			return err
		}
		if _, err := c.ACL().RoleDelete(id, c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Role %q deleted successfully\n", id)
		return err
	})
}
