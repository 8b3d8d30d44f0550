package acl

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// NewLogin returns the command login.
func NewLogin() *cobra.Command {
	var method, bearer, sink, kind string
	var meta []string
	cmd := &cobra.Command{
		Use: "login", Short: "Get a token for a credential of another system", Args: cobra.NoArgs,
		Long: "Get a token for a credential of another system, such as a pod's, and write its secret to a file.",
	}
	f := cmd.Flags()
	f.StringVar(&method, "method", "", "`name` of the auth method")
	f.StringVar(&kind, "type", "", "`kind` of the auth method; the method knows it")
	f.StringVar(&bearer, "bearer-token-file", "", "`file` with the credential")
	f.StringVar(&sink, "token-sink-file", "", "`file` that the token's secret is written to, for its owner alone")
	f.StringArrayVar(&meta, "meta", nil, "`key=value` told in the token's description; repeatable")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, _ io.Writer) error {
		if method == "" || bearer == "" || sink == "" {
			return connect.Usagef("-method, -bearer-token-file and -token-sink-file are needed")
		}
		credential, err := os.ReadFile(bearer)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(credential)) == "" {
			return connect.Usagef("-bearer-token-file: %s is empty", bearer)
		}
		p := &api.ACLLoginParams{AuthMethod: method, BearerToken: strings.TrimSpace(string(credential)), Meta: map[string]string{}}
		for _, m := range meta {
			key, value, ok := strings.Cut(m, "=")
			if !ok {
				return connect.Usagef("-meta: %q: want key=value", m)
			}
			p.Meta[key] = value
		}
		t, _, err := c.ACL().Login(p, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return keep(sink, t.SecretID)
	})
}

// keep writes the secret so that a reader sees all of it or none.
func keep(path, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // for the owner alone
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// NewLogout returns the command logout.
func NewLogout() *cobra.Command {
	cmd := &cobra.Command{
		Use: "logout", Short: "Give a token of a login back", Args: cobra.NoArgs,
		Long: "Give the token back that the command is run with (-token,\n-token-file): it was made by a login, and ends at once.",
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, _ io.Writer) error {
		_, err := c.ACL().Logout(c.WriteOptions(ctx))
		return err
	})
}
