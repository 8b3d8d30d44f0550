package acl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func showToken(out io.Writer, t *api.ACLToken, format string) error {
	if format == "json" {
		return show.JSON(out, t)
	}
	f := fields{w: out, width: 17}
	f.line("AccessorID", t.AccessorID)
	f.line("SecretID", t.SecretID)
	f.line("Description", t.Description)
	f.line("Local", fmt.Sprint(t.Local))
	if t.AuthMethod != "" {
		f.line("Auth Method", t.AuthMethod)
	}
	f.line("Create Time", t.CreateTime.Format(time.RFC3339))
	if t.ExpirationTime != nil {
		f.line("Expiration Time", t.ExpirationTime.Format(time.RFC3339))
	}
	f.list("Roles", linkLines(t.Roles))
	f.grants(t.Policies, t.ServiceIdentities, t.NodeIdentities, t.TemplatedPolicies)
	return f.err
}

func accessorFlag(cmd *cobra.Command, accessor *string) {
	cmd.Flags().StringVar(accessor, "accessor-id", "", "`ID` of the token, or its beginning, or anonymous")
	cmd.Flags().StringVar(accessor, "id", "", "old name of -accessor-id: `ID`")
}

// anonymous is the accessor ID of the token of callers that bring none.
const anonymous = "00000000-0000-0000-0000-000000000002"

func tokenID(ctx context.Context, c *connect.Connection, given string) (string, error) {
	if len(given) == 36 {
		return given, nil
	}
	if given == "anonymous" {
		return anonymous, nil
	}
	list, _, err := c.ACL().TokenList(c.Options(ctx))
	if err != nil {
		return "", err
	}
	var ids []string
	for _, t := range list {
		ids = append(ids, t.AccessorID)
	}
	return picked("token", "-accessor-id", given, ids)
}

func readToken(ctx context.Context, c *connect.Connection, given string) (*api.ACLToken, error) {
	id, err := tokenID(ctx, c, given)
	if err != nil {
		return nil, err
	}
	t, _, err := c.ACL().TokenRead(id, c.Options(ctx))
	return t, err
}

// roles are the flags of a token's roles.
type roles struct{ ids, names []string }

func (r *roles) flags(cmd *cobra.Command, prefix string) {
	cmd.Flags().StringArrayVar(&r.ids, prefix+"role-id", nil, "`ID` of a role, or its beginning; repeatable")
	cmd.Flags().StringArrayVar(&r.names, prefix+"role-name", nil, "`name` of a role; repeatable")
}

func (r *roles) links(ctx context.Context, c *connect.Connection) (out []*api.ACLLink, err error) {
	for _, given := range r.ids {
		id, err := roleID(ctx, c, "-role-id", given, "")
		if err != nil {
			return nil, err
		}
		out = append(out, &api.ACLLink{ID: id})
	}
	for _, name := range r.names {
		out = append(out, &api.ACLLink{Name: name})
	}
	return out, nil
}

// fill sets the grants of t from the flags.
func fill(ctx context.Context, c *connect.Connection, t *api.ACLToken, g *grants, r *roles) (err error) {
	if t.Policies, err = g.policies(ctx, c); err != nil {
		return err
	}
	if t.Roles, err = r.links(ctx, c); err != nil {
		return err
	}
	t.ServiceIdentities = g.serviceIdentities()
	if t.NodeIdentities, err = g.nodeIdentities(); err != nil {
		return err
	}
	t.TemplatedPolicies, err = g.templated()
	return err
}

func newTokenCreate() *cobra.Command {
	var (
		format, description, accessor, secret string
		local                                 bool
		ttl                                   time.Duration
		g                                     grants
		r                                     roles
	)
	cmd := &cobra.Command{
		Use: "create", Short: "Make a token", Args: cobra.NoArgs,
		Example: "  skerry acl token create -description web -service-identity web",
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&description, "description", "", "`text` for people")
	f.StringVar(&accessor, "accessor", "", "`UUID` that it shall have; default a new one")
	f.StringVar(&secret, "secret", "", "`UUID` that shall be its secret; default a new one")
	f.BoolVar(&local, "local", false, "valid in this datacenter only")
	f.DurationVar(&ttl, "expires-ttl", 0, "`time` after which it ends; default never")
	g.flags(cmd)
	r.flags(cmd, "")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if !g.given() && len(r.ids)+len(r.names) == 0 {
			return connect.Usagef("a token that grants nothing is of no use: give -policy-name, -role-name, -service-identity, -node-identity or -templated-policy")
		}
		t := &api.ACLToken{Description: description, AccessorID: accessor, SecretID: secret, Local: local, ExpirationTTL: ttl}
		if err := fill(ctx, c, t, &g, &r); err != nil {
			return err
		}
		made, _, err := c.ACL().TokenCreate(t, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showToken(out, made, format)
	})
}

func newTokenRead() *cobra.Command {
	var format, accessor string
	var self bool
	cmd := &cobra.Command{Use: "read", Short: "Show a token", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	accessorFlag(cmd, &accessor)
	cmd.Flags().BoolVar(&self, "self", false, "the token that this command is run with")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if self {
			t, _, err := c.ACL().TokenReadSelf(c.Options(ctx))
			if err != nil {
				return err
			}
			return showToken(out, t, format)
		}
		t, err := readToken(ctx, c, accessor)
		if err != nil {
			return err
		}
		return showToken(out, t, format)
	})
}

func newTokenUpdate() *cobra.Command {
	var (
		format, accessor, description string
		g                             grants
		r, more                       roles
		moreIDs, moreNames            []string
		merge                         merges
		also                          grants // the additions
	)
	cmd := &cobra.Command{
		Use: "update", Short: "Change the grants of a token", Args: cobra.NoArgs,
		Long: "Change the grants of a token. The flags replace the token's grants of\nthat kind, -append-… adds to them; others stay.",
	}
	show.FormatFlag(cmd, &format)
	accessorFlag(cmd, &accessor)
	f := cmd.Flags()
	f.StringVar(&description, "description", "", "`text` for people")
	f.StringArrayVar(&moreIDs, "append-policy-id", nil, "`ID` of a policy to add; repeatable")
	f.StringArrayVar(&moreNames, "append-policy-name", nil, "`name` of a policy to add; repeatable")
	g.flags(cmd)
	r.flags(cmd, "")
	more.flags(cmd, "append-")
	merge.flags(cmd)
	f.StringArrayVar(&also.services, "append-service-identity", nil, "`NAME[:DATACENTERS]` to add; repeatable")
	f.StringArrayVar(&also.nodes, "append-node-identity", nil, "`NODE:DATACENTER` to add; repeatable")
	f.StringArrayVar(&also.templates, "append-templated-policy", nil, "`name` of a template to add; repeatable")
	f.StringArrayVar(&g.templates, "replace-templated-policy", nil, "another name of -templated-policy: the `name` of a template")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		t, err := readToken(ctx, c, accessor)
		if err != nil {
			return err
		}
		var with api.ACLToken
		if err := fill(ctx, c, &with, &g, &r); err != nil {
			return err
		}
		if cmd.Flags().Changed("description") {
			t.Description = description
		}
		merge.into(t, &with)
		replace(&t.Policies, with.Policies)
		replace(&t.Roles, with.Roles)
		replace(&t.ServiceIdentities, with.ServiceIdentities)
		replace(&t.NodeIdentities, with.NodeIdentities)
		replace(&t.TemplatedPolicies, with.TemplatedPolicies)
		added, err := policyLinks(ctx, c, "-append-policy-id", moreIDs, moreNames)
		if err != nil {
			return err
		}
		t.Policies = append(t.Policies, added...)
		addedRoles, err := more.links(ctx, c)
		if err != nil {
			return err
		}
		t.Roles = append(t.Roles, addedRoles...)
		if err := also.addTo(t); err != nil {
			return err
		}
		t.SecretID = "" // it does not change, and may not be known here
		updated, _, err := c.ACL().TokenUpdate(t, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showToken(out, updated, format)
	})
}

// addTo adds the identities and templates to the grants of t.
func (g *grants) addTo(t *api.ACLToken) error {
	nodes, err := g.nodeIdentities()
	if err != nil {
		return err
	}
	templates, err := g.templated()
	t.ServiceIdentities = append(t.ServiceIdentities, g.serviceIdentities()...)
	t.NodeIdentities, t.TemplatedPolicies = append(t.NodeIdentities, nodes...), append(t.TemplatedPolicies, templates...)
	return err
}

// merges are the flags that keep the present grants of a kind beside the given ones.
type merges struct{ policies, roles, services, nodes bool }

func (m *merges) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&m.policies, "merge-policies", false, "keep the policies that it has")
	f.BoolVar(&m.roles, "merge-roles", false, "keep the roles that it has")
	f.BoolVar(&m.services, "merge-service-identities", false, "keep the service identities that it has")
	f.BoolVar(&m.nodes, "merge-node-identities", false, "keep the node identities that it has")
}

// into puts the grants of t to keep before the given ones.
func (m *merges) into(t, with *api.ACLToken) {
	if m.policies {
		with.Policies = append(t.Policies, with.Policies...)
	}
	if m.roles {
		with.Roles = append(t.Roles, with.Roles...)
	}
	if m.services {
		with.ServiceIdentities = append(t.ServiceIdentities, with.ServiceIdentities...)
	}
	if m.nodes {
		with.NodeIdentities = append(t.NodeIdentities, with.NodeIdentities...)
	}
}

// noMergeFlag adds the flag that drops the grants that are not given.
func noMergeFlag(cmd *cobra.Command, noMerge *bool) {
	cmd.Flags().BoolVar(noMerge, "no-merge", false, "remove the grants that are not given")
}

// replace makes list the given values, if there are any.
func replace[T any](list *[]T, given []T) {
	if len(given) > 0 {
		*list = given
	}
}

func newTokenClone() *cobra.Command {
	var format, accessor, description string
	cmd := &cobra.Command{Use: "clone", Short: "Make a token that grants the same", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	accessorFlag(cmd, &accessor)
	cmd.Flags().StringVar(&description, "description", "", "`text` for people; default that of the other")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		id, err := tokenID(ctx, c, accessor)
		if err != nil {
			return err
		}
		t, _, err := c.ACL().TokenClone(id, description, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showToken(out, t, format)
	})
}

func newTokenList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the tokens", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list, _, err := c.ACL().TokenList(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("AccessorID", "Description", "Local", "Policies", "Roles", "Expires")
		for _, one := range list {
			expires := "never"
			if one.ExpirationTime != nil {
				expires = one.ExpirationTime.Format(time.RFC3339)
			}
			t.Add(one.AccessorID, one.Description, fmt.Sprint(one.Local), linkNames(one.Policies), linkNames(one.Roles), expires)
		}
		return t.Write(out, "no tokens")
	})
}

func linkNames(links []*api.ACLLink) string {
	out := ""
	for i, l := range links {
		if i > 0 {
			out += ", "
		}
		out += l.Name
	}
	return connect.First(out, "-")
}

func newTokenDelete() *cobra.Command {
	var accessor string
	cmd := &cobra.Command{Use: "delete", Short: "Delete a token", Args: cobra.NoArgs}
	accessorFlag(cmd, &accessor)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		id, err := tokenID(ctx, c, accessor)
		if err != nil {
			return err
		}
		if _, err := c.ACL().TokenDelete(id, c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "Token %q deleted successfully\n", id)
		return err
	})
}
