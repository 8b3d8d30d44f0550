package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// explanation is why the instances of a service are in an answer or not.
type explanation struct {
	Service string
	Index   uint64
	Cause   skerry.Cause
	Kept    []struct {
		Node, ID, Address string
		Port              int
		Health, DNS       string
	}
	Dropped []struct {
		Node, ID, Stage, Reason string
		Check                   *struct{ CheckID, Since string }
	}
}

func newExplainCommand() *cobra.Command {
	var format, filter string
	var tags []string
	var passing bool
	cmd := &cobra.Command{
		Use:   "explain SERVICE",
		Short: "Explain why instances are in an answer, or are not",
		Long: `Show which instances of a service a query returns and which it leaves out, with
the stage that drops each and the reason; and why there are none at all.`,
		Args: cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringArrayVar(&tags, "tag", nil, "as of a query for this `tag`; repeatable")
	f.BoolVar(&passing, "passing", false, "as of a query for passing instances")
	f.StringVar(&filter, "filter", "", "as of a query with this `expression`")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		query := url.Values{"tag": tags}
		if passing {
			query.Set("passing", "1")
		}
		if filter != "" {
			query.Set("filter", filter)
		}
		var answer json.RawMessage
		if err := c.Do(ctx, http.MethodGet, "/v1/skerry/explain/"+args[0], query, nil, &answer); err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, answer)
		}
		var e explanation
		if err := json.Unmarshal(answer, &e); err != nil {
			return fmt.Errorf("the agent's answer cannot be read: %w", err)
		}
		return e.show(out)
	})
}

// causes are the causes in words.
var causes = map[skerry.Cause]string{
	skerry.CauseUnknown:      "the service was never seen since the server started",
	skerry.CauseDeregistered: "all its instances were withdrawn by their owners",
	skerry.CauseExpired:      "its last instances were lost: their owners fell silent",
	skerry.CauseRecovering:   "the server started just now, and owners have yet to announce",
	skerry.CauseGuarded:      "owners fell silent all at once; their instances are served as they were",
	skerry.CauseFiltered:     "there are instances, and the query leaves out all of them",
}

func (e *explanation) show(out io.Writer) error {
	fmt.Fprintf(out, "%s: %d of %d instances are returned\n", show.Line(e.Service), len(e.Kept), len(e.Kept)+len(e.Dropped))
	if e.Cause != skerry.CauseNone {
		text := causes[e.Cause]
		if text == "" {
			text = show.Line(string(e.Cause))
		}
		fmt.Fprintf(out, "Cause: %s\n", text)
	}
	if len(e.Kept) > 0 {
		fmt.Fprint(out, "\nReturned:\n")
		t := show.NewTable("Node", "ID", "Address", "Health")
		for _, k := range e.Kept {
			t.Add(k.Node, k.ID, net.JoinHostPort(k.Address, strconv.Itoa(k.Port)), k.Health)
		}
		if err := t.Write(out, ""); err != nil {
			return err
		}
	}
	for _, k := range e.Kept {
		if k.DNS != "" {
			fmt.Fprintf(out, "\n%s on %s: %s\n", show.Line(k.ID), show.Line(k.Node), show.Line(k.DNS))
		}
	}
	if len(e.Dropped) == 0 {
		return nil
	}
	fmt.Fprint(out, "\nLeft out:\n")
	t := show.NewTable("Node", "ID", "Stage", "Check", "Since", "Reason")
	for _, d := range e.Dropped {
		check, since := "", ""
		if d.Check != nil {
			check, since = d.Check.CheckID, ago(d.Check.Since)
		}
		t.Add(d.Node, d.ID, d.Stage, check, since, show.Cut(d.Reason, 100))
	}
	return t.Write(out, "")
}

// ago returns how long ago a time was; a time that cannot be read is shown as it is.
func ago(since string) string {
	t, err := time.Parse(time.RFC3339Nano, since)
	if err != nil || t.IsZero() {
		return since
	}
	return time.Since(t).Round(time.Second).String()
}
