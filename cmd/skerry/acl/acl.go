// Package acl has the commands acl, login and logout.
package acl

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// New returns the command acl.
func New() *cobra.Command {
	cmd := &cobra.Command{Use: "acl", Short: "Control access"}
	cmd.AddCommand(
		newBootstrap(), newAgentToken(),
		group("token", "Keep tokens", newTokenCreate(), newTokenRead(), newTokenUpdate(), newTokenClone(), newTokenList(), newTokenDelete()),
		group("policy", "Keep policies", newPolicyCreate(), newPolicyRead(), newPolicyUpdate(), newPolicyList(), newPolicyDelete()),
		group("role", "Keep roles", newRoleCreate(), newRoleRead(), newRoleUpdate(), newRoleList(), newRoleDelete()),
		group("auth-method", "Keep ways to log in", newMethodCreate(), newMethodRead(), newMethodUpdate(), newMethodList(), newMethodDelete()),
		group("binding-rule", "Keep what a login grants", newBindingCreate(), newBindingRead(), newBindingUpdate(), newBindingList(), newBindingDelete()),
		group("templated-policy", "Show the built-in templates of rules", newTemplateRead(), newTemplateList(), newTemplatePreview()),
	)
	return cmd
}

func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}

func newBootstrap() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "bootstrap [FILE]", Short: "Make the first token, once",
		Long: "Make the first token with every permission, once. FILE (or - for standard\ninput) holds the secret that it shall have; without one it is made.",
		Args: cobra.MaximumNArgs(1),
	}
	show.FormatFlag(cmd, &format)
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		var body any
		if len(args) == 1 {
			from := args[0]
			if from != "-" {
				from = "@" + from
			}
			secret, err := connect.Argument(cmd, from)
			if err != nil {
				return err
			}
			body = map[string]string{"BootstrapSecret": strings.TrimSpace(string(secret))}
		}
		var t api.ACLToken
		if err := c.Do(ctx, http.MethodPut, "/v1/acl/bootstrap", nil, body, &t); err != nil {
			return err
		}
		return showToken(out, &t, format)
	})
}

var agentTokens = []string{"default", "agent", "agent_recovery", "replication", "config_file_service_registration", "dns"}

// oldKinds are Consul's names of a token on the command line.
var oldKinds = map[string]string{"recovery": "agent_recovery", "master": "agent_recovery", "config_file_registration": "config_file_service_registration"}

func newAgentToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set-agent-token KIND TOKEN", Short: "Give the agent a token to act with",
		Long: "Give the agent a token to act with. KIND is one of\n  " + strings.Join(agentTokens, "\n  ") + "\nIt is kept over restarts with acl.enable_token_persistence.",
		Args: cobra.ExactArgs(2),
	}
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		kind := args[0]
		if k := oldKinds[kind]; k != "" {
			kind = k
		}
		if err := c.Do(ctx, http.MethodPut, "/v1/agent/token/"+url.PathEscape(kind), nil, map[string]string{"Token": args[1]}, nil); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "ACL token %q set successfully\n", show.Line(args[0]))
		return err
	})
}

// picked returns the one of ids that begins with the user's prefix.
func picked(what, flag, given string, ids []string) (string, error) {
	if given == "" {
		return "", connect.Usagef("%s is needed: name the %s", flag, what)
	}
	found := ""
	for _, id := range ids {
		switch {
		case id == given:
			return id, nil
		case !strings.HasPrefix(id, given):
		case found != "":
			return "", connect.Usagef("%s: %q is the beginning of several IDs of a %s: give more of it", flag, given, what)
		default:
			found = id
		}
	}
	if found == "" {
		return "", fmt.Errorf("there is no %s %q", what, given)
	}
	return found, nil
}

// fields prints names and values below each other.
type fields struct {
	w     io.Writer
	width int
	err   error
}

func (f *fields) line(name, value string) {
	if f.err == nil {
		_, f.err = fmt.Fprintln(f.w, strings.TrimRight(fmt.Sprintf("%-*s %s", f.width, name+":", show.Line(value)), " "))
	}
}

// list prints a heading and the lines below it, if any.
func (f *fields) list(name string, values []string) {
	if len(values) == 0 || f.err != nil {
		return
	}
	_, f.err = fmt.Fprintln(f.w, name+":")
	for _, v := range values {
		if f.err == nil {
			_, f.err = fmt.Fprintln(f.w, "   "+show.Line(v))
		}
	}
}

// text prints a heading and a text as it is, without characters that would harm a
// terminal.
func (f *fields) text(name, value string) {
	if f.err != nil {
		return
	}
	_, f.err = fmt.Fprintln(f.w, name+":")
	for line := range strings.Lines(value) {
		if f.err == nil {
			_, f.err = fmt.Fprintln(f.w, indented(line))
		}
	}
}

// indented keeps the spaces at a line's beginning, which show.Line may not.
func indented(line string) string {
	body := strings.TrimLeft(line, " \t")
	return strings.ReplaceAll(line[:len(line)-len(body)], "\t", "  ") + show.Line(strings.TrimRight(body, "\r\n"))
}
