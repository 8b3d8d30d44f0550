package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// NewTxn returns the command txn.
func NewTxn() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "txn OPERATIONS",
		Short: "Do several operations at once, or none of them",
		Long: `Do several operations at once, or none of them: OPERATIONS is a list in JSON, as
the endpoint /v1/txn takes it, "-" for standard input, or "@FILE". Values are in
base64.`,
		Example: `  skerry txn '[{"KV": {"Verb": "set", "Key": "a", "Value": "MQ=="}},
               {"KV": {"Verb": "delete", "Key": "b"}}]'`,
		Args: cobra.ExactArgs(1),
	}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		body, err := connect.Argument(cmd, args[0])
		if err != nil {
			return err
		}
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(body, &list); err != nil {
			return connect.Usagef("the operations are not a list in JSON: %v", err)
		}
		resp, err := c.Send(ctx, http.MethodPut, "/v1/txn", nil, bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
			return connect.Refusal(resp)
		}
		return showTxn(cmd, format, resp, out)
	})
}

func showTxn(cmd *cobra.Command, format string, resp *http.Response, out io.Writer) error {
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer api.TxnResponse
	// A refusal for another reason than an operation is text.
	if err := json.Unmarshal(data, &answer); err != nil && resp.StatusCode == http.StatusConflict {
		return fmt.Errorf("nothing is done: %s", bytes.TrimSpace(data))
	} else if err != nil {
		return fmt.Errorf("the agent's answer cannot be read: %w", err)
	}
	rolledBack := resp.StatusCode == http.StatusConflict
	if format == "json" {
		if err := show.JSON(out, json.RawMessage(data)); err != nil || !rolledBack {
			return err
		}
		return connect.ExitCode(1)
	}
	if rolledBack {
		for _, e := range answer.Errors {
			fmt.Fprintf(cmd.ErrOrStderr(), "operation %d: %s\n", e.OpIndex, show.Line(e.What))
		}
		return fmt.Errorf("nothing is done: %d of the operations failed", len(answer.Errors))
	}
	t := show.NewTable("Kind", "Name", "ModifyIndex", "Value")
	for _, r := range answer.Results {
		switch {
		case r.KV != nil:
			t.Add("key", r.KV.Key, index(r.KV.ModifyIndex), show.Cut(string(r.KV.Value), 60))
		case r.Node != nil:
			t.Add("node", r.Node.Node, index(r.Node.ModifyIndex), r.Node.Address)
		case r.Service != nil:
			t.Add("service", r.Service.ID, index(r.Service.ModifyIndex), r.Service.Service)
		case r.Check != nil:
			t.Add("check", r.Check.CheckID, index(r.Check.ModifyIndex), r.Check.Status)
		}
	}
	return t.Write(out, "done; nothing is returned")
}

func index(i uint64) string { return strconv.FormatUint(i, 10) }
