package acl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

func showMethod(out io.Writer, m *api.ACLAuthMethod, format string) error {
	if format == "json" {
		return show.JSON(out, m)
	}
	f := fields{w: out, width: 15}
	f.line("Name", m.Name)
	f.line("Type", m.Type)
	f.line("DisplayName", m.DisplayName)
	f.line("Description", m.Description)
	if m.MaxTokenTTL > 0 {
		f.line("MaxTokenTTL", m.MaxTokenTTL.String())
	}
	f.line("TokenLocality", connect.First(m.TokenLocality, "local"))
	config, err := json.MarshalIndent(m.Config, "", "  ")
	if err != nil {
		return err
	}
	f.text("Config", string(config))
	return f.err
}

// methodFlags are the flags of an auth method.
type methodFlags struct {
	display, description, locality, config string
	host, ca, jwt                          string
	ttl                                    time.Duration
}

func (m *methodFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&m.display, "display-name", "", "`name` for people")
	f.StringVar(&m.description, "description", "", "`text` for people")
	f.StringVar(&m.locality, "token-locality", "", "`local` or global tokens; default local")
	f.DurationVar(&m.ttl, "max-token-ttl", 0, "longest `life` of its tokens; default without end")
	f.StringVar(&m.config, "config", "", "`configuration` in JSON, - for standard input, or @FILE")
	f.StringVar(&m.host, "kubernetes-host", "", "`address` of the API server")
	f.StringVar(&m.ca, "kubernetes-ca-cert", "", "`certificate` of its authority in PEM, - or @FILE")
	f.StringVar(&m.jwt, "kubernetes-service-account-jwt", "", "`token` that may review others, - or @FILE")
}

// fill changes m as the flags say.
func (m *methodFlags) fill(cmd *cobra.Command, to *api.ACLAuthMethod) error {
	for _, one := range []struct {
		flag, value string
		to          *string
	}{{"display-name", m.display, &to.DisplayName}, {"description", m.description, &to.Description}, {"token-locality", m.locality, &to.TokenLocality}} {
		if cmd.Flags().Changed(one.flag) {
			*one.to = one.value
		}
	}
	if cmd.Flags().Changed("max-token-ttl") {
		to.MaxTokenTTL = m.ttl
	}
	if m.config != "" {
		text, err := connect.Argument(cmd, m.config)
		if err != nil {
			return err
		}
		to.Config = nil
		if err := json.Unmarshal(text, &to.Config); err != nil {
			return connect.Usagef("-config is not an object in JSON: %v", err)
		}
	}
	for _, one := range []struct{ key, value string }{{"Host", m.host}, {"CACert", m.ca}, {"ServiceAccountJWT", m.jwt}} {
		if one.value == "" {
			continue
		}
		text, err := connect.Argument(cmd, one.value)
		if err != nil {
			return err
		}
		if to.Config == nil {
			to.Config = map[string]any{}
		}
		to.Config[one.key] = string(text)
	}
	return nil
}

func methodName(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", "", "`name` of the auth method")
}

func newMethodCreate() *cobra.Command {
	var format, name, kind string
	var m methodFlags
	cmd := &cobra.Command{Use: "create", Short: "Make a way to log in", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	methodName(cmd, &name)
	cmd.Flags().StringVar(&kind, "type", "", "`jwt` or kubernetes")
	m.flags(cmd)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if name == "" || kind == "" {
			return connect.Usagef("-name and -type are needed")
		}
		to := &api.ACLAuthMethod{Name: name, Type: kind}
		if err := m.fill(cmd, to); err != nil {
			return err
		}
		made, _, err := c.ACL().AuthMethodCreate(to, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showMethod(out, made, format)
	})
}

func readMethod(ctx context.Context, c *connect.Connection, name string) (*api.ACLAuthMethod, error) {
	if name == "" {
		return nil, connect.Usagef("-name is needed")
	}
	m, _, err := c.ACL().AuthMethodRead(name, c.Options(ctx))
	if m == nil && err == nil {
		err = fmt.Errorf("there is no auth method %q", name)
	}
	return m, err
}

func newMethodRead() *cobra.Command {
	var format, name string
	cmd := &cobra.Command{Use: "read", Short: "Show a way to log in", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	methodName(cmd, &name)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		m, err := readMethod(ctx, c, name)
		if err != nil {
			return err
		}
		return showMethod(out, m, format)
	})
}

func newMethodUpdate() *cobra.Command {
	var format, name string
	var m methodFlags
	var noMerge bool
	cmd := &cobra.Command{Use: "update", Short: "Change a way to log in", Long: "Change a way to log in. Other fields stay.", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	methodName(cmd, &name)
	m.flags(cmd)
	noMergeFlag(cmd, &noMerge)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		to, err := readMethod(ctx, c, name)
		if err != nil {
			return err
		}
		if noMerge {
			to = &api.ACLAuthMethod{Name: to.Name, Type: to.Type}
		}
		if err := m.fill(cmd, to); err != nil {
			return err
		}
		updated, _, err := c.ACL().AuthMethodUpdate(to, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showMethod(out, updated, format)
	})
}

func newMethodList() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the ways to log in", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list, _, err := c.ACL().AuthMethodList(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("Name", "Type", "Description")
		for _, m := range list {
			t.Add(m.Name, m.Type, m.Description)
		}
		return t.Write(out, "no auth methods")
	})
}

func newMethodDelete() *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "delete", Short: "Delete a way to log in, with its binding rules and tokens", Args: cobra.NoArgs}
	methodName(cmd, &name)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		if name == "" {
			return connect.Usagef("-name is needed")
		}
		if _, err := c.ACL().AuthMethodDelete(name, c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "Auth-method %q deleted successfully\n", show.Line(name))
		return err
	})
}
