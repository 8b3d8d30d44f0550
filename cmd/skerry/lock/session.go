package lock

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// NewSession returns the command session.
func NewSession() *cobra.Command {
	cmd := &cobra.Command{Use: "session", Short: "Make, renew, list and end sessions"}
	cmd.AddCommand(newCreate(), newDestroy(), newInfo(), newList(), newRenew())
	return cmd
}

func newCreate() *cobra.Command {
	var format string
	var e api.SessionEntry
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a session",
		Long: `Make a session and print its ID. It ends when it is destroyed, when one of its
checks is critical or withdrawn, or when it was not renewed for -ttl.`,
		Args: cobra.NoArgs,
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&e.Name, "name", "", "`name` for people")
	f.StringVar(&e.Node, "node", "", "`node` that it belongs to; default the agent's")
	f.DurationVar(&ttl, "ttl", 0, "`time` without a renewal after which it ends, 10s to 24h; default never")
	f.StringVar(&e.Behavior, "behavior", "", "action on the keys that it holds at its end: `release` (the default) or delete")
	f.DurationVar(&e.LockDelay, "lock-delay", 15*time.Second, "`time` after its end in which its locks cannot be taken; 0 is the server's default")
	f.StringArrayVar(&e.NodeChecks, "node-check", nil, "`ID` of a check of the node; repeatable; default serfHealth")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		switch {
		case ttl < 0:
			return connect.Usagef("-ttl: %v: want a time that is not negative", ttl)
		case e.LockDelay < 0:
			return connect.Usagef("-lock-delay: %v: want a time that is not negative", e.LockDelay)
		case e.Behavior != "" && e.Behavior != api.SessionBehaviorRelease && e.Behavior != api.SessionBehaviorDelete:
			return connect.Usagef("-behavior: %q: want release or delete", e.Behavior)
		}
		if ttl > 0 {
			e.TTL = ttl.String()
		}
		id, _, err := c.Session().Create(&e, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, map[string]string{"ID": id})
		}
		_, err = fmt.Fprintln(out, id)
		return err
	})
}

func newDestroy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "destroy ID", Short: "End a session", Long: "End a session at once. That there is none is no error.", Args: cobra.ExactArgs(1),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		if _, err := c.Session().Destroy(args[0], c.WriteOptions(ctx)); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Session destroyed:", show.Line(args[0]))
		return err
	})
}

func newRenew() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "renew ID", Short: "Begin a session's TTL anew", Args: cobra.ExactArgs(1)}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		e, _, err := c.Session().Renew(args[0], c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		return showOne(out, format, args[0], e)
	})
}

func newInfo() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "info ID", Short: "Show a session", Args: cobra.ExactArgs(1)}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		e, _, err := c.Session().Info(args[0], c.Options(ctx))
		if err != nil {
			return err
		}
		return showOne(out, format, args[0], e)
	})
}

func newList() *cobra.Command {
	var format, node string
	cmd := &cobra.Command{Use: "list", Short: "List the sessions", Args: cobra.NoArgs}
	show.FormatFlag(cmd, &format)
	cmd.Flags().StringVar(&node, "node", "", "only those of this `node`")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		list := c.Session().List
		if node != "" {
			list = func(q *api.QueryOptions) ([]*api.SessionEntry, *api.QueryMeta, error) {
				return c.Session().Node(node, q)
			}
		}
		sessions, _, err := list(c.Options(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, sessions)
		}
		t := show.NewTable("ID", "Name", "Node", "TTL", "Behavior", "Checks")
		for _, e := range sessions {
			t.Add(row(e)...)
		}
		return t.Write(out, "no sessions")
	})
}

func showOne(out io.Writer, format, id string, e *api.SessionEntry) error {
	if e == nil {
		return fmt.Errorf("there is no session %q", id)
	}
	if format == "json" {
		return show.JSON(out, e)
	}
	t := show.NewTable("ID", "Name", "Node", "TTL", "Behavior", "Checks")
	t.Add(row(e)...)
	return t.Write(out, "")
}

func row(e *api.SessionEntry) []string {
	checks := append([]string{}, e.NodeChecks...)
	for _, s := range e.ServiceChecks {
		checks = append(checks, s.ID)
	}
	return []string{e.ID, e.Name, e.Node, connect.First(e.TTL, "none"), e.Behavior, strings.Join(checks, ",")}
}
