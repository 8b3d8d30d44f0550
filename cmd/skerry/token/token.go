// Package token is the commands token, node and ca, which admit processes to the cluster, revoke them, and change the
// authority of their certificates.
package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
)

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Let servers and agents join the cluster, by tokens"}
	cmd.AddCommand(newCreate(), newList(), newRevoke())
	return cmd
}

// NewNode returns the command node.
func NewNode() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Show and revoke nodes that joined with a token"}
	cmd.AddCommand(newNodes(), newRevokeNode())
	return cmd
}

type options struct {
	server, agent bool
	uses          int
	ttl           time.Duration
	node, dataDir string
}

const (
	defaultTTL = 24 * time.Hour
	maxUses    = 100_000
)

func newCreate() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "create -server|-agent",
		Short: "Make a join token",
		Long: `Make a join token and print it. Give it to the machines that may join, in a file,
and name that file in join_token_file or -join-token-file.

With -server -datacenter it is for the first servers of another datacenter, which
name servers of this one in retry_join_wan. They get the authority with it, and
make the tokens of their datacenter themselves.

With -data-dir it makes the first token, on the machine of the first server and
before any server runs: the authority that signs the certificates of the cluster
is made with it. The first server takes one of its uses.`,
		Example: `  skerry token create -server -uses 3 -data-dir /var/lib/skerry > join-token
  skerry token create -server -uses 3 -datacenter dc2 > dc2-token
  skerry token create -agent -uses 500 -ttl 1h > agent-token`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&o.server, "server", false, "for servers")
	f.BoolVar(&o.agent, "agent", false, "for agents")
	f.IntVar(&o.uses, "uses", 1, "`number` of processes that may join with it")
	f.DurationVar(&o.ttl, "ttl", defaultTTL, "`time` after which it is refused")
	f.StringVar(&o.node, "node", "", "the only node `name` that may join with it, also in place of a node of that name")
	f.StringVar(&o.dataDir, "data-dir", "", "`folder` of the first server's data, while it does not run")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		kind, err := o.kind()
		if err != nil {
			return err
		}
		of := c.Query.Datacenter
		if o.dataDir != "" && of != "" {
			return connect.Usagef("-datacenter: the first token is for this datacenter; leave it out, or leave -data-dir out and ask a server that runs")
		}
		if o.dataDir != "" {
			return o.first(out, kind)
		}
		if kind == pki.Server {
			c.Query.Datacenter = "" // a server of this datacenter makes it
		}
		ask := map[string]any{"Kind": kind, "Uses": o.uses, "TTL": o.ttl.String(), "Node": o.node}
		if kind == pki.Server {
			ask["Datacenter"] = of
		}
		var made struct{ Secret string }
		if err := c.Do(ctx, http.MethodPut, "/v1/skerry/join-token", nil, ask, &made); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, made.Secret)
		return err
	})
}

func newList() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List join tokens, without their secrets",
		Args:  cobra.NoArgs,
	}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		var list []struct {
			ID, Kind, Node string
			Uses           int
			Expires        time.Time
		}
		if err := c.Do(ctx, http.MethodGet, "/v1/skerry/join-tokens", nil, nil, &list); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("ID", "Kind", "Uses left", "Expires", "Node")
		for _, one := range list {
			t.Add(one.ID, one.Kind, strconv.Itoa(one.Uses), one.Expires.Format(time.RFC3339), one.Node)
		}
		return t.Write(out, "there are no join tokens")
	})
}

func newRevoke() *cobra.Command {
	var nodes bool
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a join token",
		Long: `Revoke a join token: no process joins with it any more. With -nodes the nodes that
joined with it are revoked too, as "node revoke" does it.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&nodes, "nodes", false, "revoke the nodes too that joined with it")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		query := url.Values{}
		if nodes {
			query.Set("nodes", "")
		}
		var answer struct{ Nodes []string }
		if err := c.Do(ctx, http.MethodDelete, "/v1/skerry/join-token/"+url.PathEscape(args[0]), query, nil, &answer); err != nil {
			return err
		}
		for _, node := range answer.Nodes {
			fmt.Fprintln(out, "revoked", show.Line(node))
		}
		return nil
	})
}

func newNodes() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "list", Short: "List the nodes that joined with a token", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		var list []struct{ Name, Kind, Token string }
		if err := c.Do(ctx, http.MethodGet, "/v1/skerry/joined", nil, nil, &list); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, list)
		}
		t := show.NewTable("Node", "Kind", "Token")
		for _, one := range list {
			t.Add(one.Name, one.Kind, one.Token)
		}
		return t.Write(out, "no node joined with a token")
	})
}

func newRevokeNode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke NODE",
		Short: "Put a node out of the cluster",
		Long: `Put a node out of the cluster: servers close its connections, take the services of
its agent out of the catalog and refuse its key from now on. A server is taken
out of the quorum store by "operator raft remove-peer" first. The machine may
join anew, with a token and without the folder pki in its data_dir.`,
		Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, _ io.Writer) error {
		return c.Do(ctx, http.MethodDelete, "/v1/skerry/joined/"+url.PathEscape(args[0]), nil, nil, nil)
	})
}

// kind returns the kind that the token is for.
func (o *options) kind() (pki.Kind, error) {
	switch {
	case o.server == o.agent:
		return "", connect.Usagef("give -server or -agent")
	case o.uses < 1 || o.uses > maxUses:
		return "", connect.Usagef("-uses: %d: want 1 to %d", o.uses, maxUses)
	case o.ttl < time.Second:
		return "", connect.Usagef("-ttl: %v: want a second or more", o.ttl)
	case o.agent:
		return pki.Agent, nil
	}
	return pki.Server, nil
}

// first makes the first token, and the authority.
func (o *options) first(out io.Writer, kind pki.Kind) error {
	if kind != pki.Server {
		return connect.Usagef("-agent: the first token is for servers; make one for agents when a server runs, without -data-dir")
	}
	folder, now := disk.Folder(filepath.Join(o.dataDir, "pki")), time.Now()
	if _, err := folder.Load(); err == nil {
		return fmt.Errorf("the server of %s has joined: leave -data-dir out, and ask it while it runs", o.dataDir)
	}
	a, err := folder.Authority()
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = pki.NewAuthority(now); err == nil {
			err = folder.SaveAuthority(a)
		}
	}
	if err != nil {
		return err
	}
	t, err := join.NewToken(kind, a.Pin(), now.Add(o.ttl))
	if err != nil {
		return err
	}
	if err := folder.Book().Add(t.ID, join.EntryOf(t, now, o.uses, o.node)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, t.Secret())
	return err
}
