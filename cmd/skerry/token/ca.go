package token

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// NewCA returns the command ca.
func NewCA() *cobra.Command {
	cmd := &cobra.Command{Use: "ca", Short: "Show and change the authority of the cluster's certificates"}
	cmd.AddCommand(newStatus(), newRotate())
	return cmd
}

// authority is the state of the authority.
type authority struct {
	Pin              string
	Expires          time.Time
	Before           string    `json:",omitempty"`
	Began            time.Time `json:",omitzero"`
	Waiting, Restart []string  `json:",omitempty"`
	Moving           bool      `json:",omitempty"`
	Plain            []string  `json:",omitempty"`
}

const authorityPath = "/v1/skerry/authority"

func newStatus() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "status", Short: "Show the authority, and how far its change or the move to TLS is", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		var a authority
		if err := c.Do(ctx, http.MethodGet, authorityPath, nil, nil, &a); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, a)
		}
		return a.write(out)
	})
}

func (a *authority) write(out io.Writer) error {
	fmt.Fprintf(out, "authority: %s\nexpires:   %s\n", a.Pin, a.Expires.Format(time.RFC3339))
	if a.Before != "" {
		fmt.Fprintf(out, "before:    %s, trusted too since %s\n", a.Before, a.Began.Format(time.RFC3339))
		fmt.Fprintf(out, "waiting:   %s\n", list(a.Waiting, "no node"))
	}
	if len(a.Restart) > 0 {
		fmt.Fprintf(out, "restart:   %s: their members of the quorum store trust the authority before until then\n", list(a.Restart, ""))
	}
	switch {
	case !a.Moving:
	case len(a.Plain) > 0:
		fmt.Fprintf(out, "plain:     %s: give each a join token, and restart it; the server takes plain connections too meanwhile\n", list(a.Plain, ""))
	default:
		fmt.Fprintln(out, "plain:     no node: take insecure_cluster out of the configuration of each process, and restart one after another")
	}
	return nil
}

// shownNames is how many names of nodes a line has.
const shownNames = 10

func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	text := show.Line(strings.Join(names[:min(len(names), shownNames)], ", "))
	if more := len(names) - shownNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

const (
	defaultWait = 10 * time.Minute
	lookEvery   = time.Second
)

func newRotate() *cobra.Command {
	var wait time.Duration
	var force bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Change the authority of the cluster's certificates",
		Long: `Change the authority that signs the certificates of servers and agents. Servers make
a new one, which signs at once. Both are trusted until each node has a certificate
of the new one, which takes seconds where all nodes are there; then the old one
loses its trust. No connection ends. The command goes on with a rotation that has
begun.

A node that is away counts as waiting until its certificate has ended (tls.node_ttl):
run the command again then, or revoke the node ("node revoke"). With -force the
rotation ends after -wait in any case, and nodes without a new certificate have to
join anew. Join tokens from before are not accepted afterwards. The members of the
quorum store forget the old authority when their servers are restarted: "ca status"
names these.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.DurationVar(&wait, "wait", defaultWait, "`time` to wait for the nodes")
	f.BoolVar(&force, "force", false, "end the rotation although nodes are waiting")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		a, err := begin(ctx, c)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "the authority %s signs, and %s is trusted too\n", a.Pin, a.Before)
		last := -1
		for end := time.Now().Add(wait); len(a.Waiting) > 0 && time.Now().Before(end); {
			if n := len(a.Waiting); n != last {
				last = n
				fmt.Fprintf(out, "waiting for %d nodes: %s\n", n, list(a.Waiting, ""))
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(lookEvery):
			}
			a = authority{}
			if err := c.Do(ctx, http.MethodGet, authorityPath, nil, nil, &a); err != nil {
				return err
			}
		}
		query := url.Values{}
		if force {
			query.Set("force", "")
		}
		a = authority{}
		if err := c.Do(ctx, http.MethodPut, authorityPath+"/finish", query, nil, &a); err != nil {
			return err
		}
		fmt.Fprintln(out, "the authority before is not trusted any more")
		return a.write(out)
	})
}

// begin begins a rotation, unless one has begun.
func begin(ctx context.Context, c *connect.Connection) (a authority, err error) {
	if err := c.Do(ctx, http.MethodGet, authorityPath, nil, nil, &a); err != nil || a.Before != "" {
		return a, err
	}
	return a, c.Do(ctx, http.MethodPut, authorityPath+"/rotate", nil, nil, &a)
}
