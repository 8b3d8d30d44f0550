// Package token is the command token: it makes, lists and revokes the tokens by which processes join the cluster.
package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/pki/join"
)

// New returns the command.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Let servers and agents join the cluster, by tokens"}
	cmd.AddCommand(newCreate())
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

With -data-dir it makes the first token, on the machine of the first server and
before any server runs: the authority that signs the certificates of the cluster
is made with it. The first server takes one of its uses.`,
		Example: `  skerry token create -server -uses 3 -data-dir /var/lib/skerry > join-token`,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&o.server, "server", false, "for servers")
	f.BoolVar(&o.agent, "agent", false, "for agents")
	f.IntVar(&o.uses, "uses", 1, "`number` of processes that may join with it")
	f.DurationVar(&o.ttl, "ttl", defaultTTL, "`time` after which it is refused")
	f.StringVar(&o.node, "node", "", "the only node `name` that may join with it, also in place of a node of that name")
	f.StringVar(&o.dataDir, "data-dir", "", "`folder` of the first server's data, while it does not run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.first(cmd.OutOrStdout()) }
	return cmd
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
func (o *options) first(out io.Writer) error {
	kind, err := o.kind()
	switch {
	case err != nil:
		return err
	case o.dataDir == "":
		return connect.Usagef("-data-dir is needed: the data_dir of the first server")
	case kind != pki.Server:
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
