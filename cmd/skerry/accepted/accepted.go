// Package accepted has the flags of Consul's commands, consul-template and envconsul that
// do less here, or have another name: a command line that was written for them is
// understood, with a warning that names the difference.
package accepted

import (
	"fmt"
	"io"
	"path"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// Flag is a flag that is accepted.
type Flag struct {
	Command string // a pattern of command paths: "acl * read"; "" is all that ask an agent
	Name    string
	Switch  bool   // it takes no value
	Is      string // the flag that it is another name of; else see Instead
	Instead string // the effect instead
}

const (
	enterprise = "belongs to Consul Enterprise and has no effect"
	indexes    = "has no effect: -format json shows the indexes"
	aws        = "has no effect: there is no auth method of the type aws-iam"
	inFile     = "has no effect: give -templated-policy, and -var with its name"
	counted    = "has no effect: all are shown"
	onlyConsul = "has no effect: only keys of Consul are read, not Vault's"
	retries    = "has no effect: requests are retried without end, at growing intervals up to 30s"
)

// Flags is the table.
var Flags = []Flag{
	{"", "namespace", false, "", enterprise},
	{"", "partition", false, "", enterprise},
	{"agent", "config-format", false, "", "has no effect: HCL and JSON are told apart by a file's ending, else by its contents"},
	{"validate", "config-format", false, "", "has no effect: HCL and JSON are told apart by a file's ending, else by its contents"},
	{"acl * create", "meta", true, "", indexes},
	{"acl * read", "meta", true, "", indexes},
	{"acl * update", "meta", true, "", indexes},
	{"acl * list", "meta", true, "", indexes},
	{"acl token read", "expanded", true, "", "has no effect: acl policy read and acl role read show what a token's grants are"},
	{"acl token update", "upgrade-legacy", true, "", "was removed from Consul and has no effect"},
	{"acl policy create", "from-token", false, "", "was removed from Consul and has no effect: give -rules"},
	{"acl policy create", "token-secret", true, "", "was removed from Consul and has no effect: give -rules"},
	{"acl token *", "templated-policy-file", false, "", inFile},
	{"acl role *", "templated-policy-file", false, "", inFile},
	{"acl templated-policy preview", "file", false, "", inFile},
	{"operator usage instances", "all-datacenters", true, "", counted},
	{"operator usage instances", "only-billable", true, "", counted},
	{"operator usage instances", "only-connect", true, "", counted},
	{"login", "aws-auto-bearer-token", true, "", aws},
	{"login", "aws-include-entity", true, "", aws},
	{"login", "aws-access-key-id", false, "", aws},
	{"login", "aws-acesss-key-id", false, "", aws},
	{"login", "aws-region", false, "", aws},
	{"login", "aws-secret-access-key", false, "", aws},
	{"login", "aws-server-id-header-value", false, "", aws},
	{"login", "aws-session-token", false, "", aws},
	{"login", "aws-sts-endpoint", false, "", aws},
	{"members", "segment", false, "", enterprise},
	{"snapshot inspect", "kvdetails", true, "", "has no effect: keys are counted as one kind"},
	{"snapshot inspect", "kvdepth", false, "", "has no effect: keys are counted as one kind"},
	{"snapshot inspect", "kvfilter", false, "", "has no effect: keys are counted as one kind"},

	// consul-template and envconsul, and the first names of their flags.
	{"tools", "consul-addr", false, "http-addr", ""},
	{"tools", "consul", false, "http-addr", ""},
	{"tools", "consul-token", false, "token", ""},
	{"tools", "consul-token-file", false, "token-file", ""},
	{"tools", "consul-ssl-ca-cert", false, "ca-file", ""},
	{"tools", "consul-ssl-ca-path", false, "ca-path", ""},
	{"tools", "consul-ssl-cert", false, "client-cert", ""},
	{"tools", "consul-ssl-key", false, "client-key", ""},
	{"tools", "consul-ssl-server-name", false, "tls-server-name", ""},
	{"tools", "ssl-ca-cert", false, "ca-file", ""},
	{"tools", "ssl-cert", false, "client-cert", ""},
	{"tools", "exec-kill-timeout", false, "kill-timeout", ""},
	{"tools", "exec-reload-signal", false, "signal", ""},
	{"tools", "exec-splay", false, "splay", ""},
	{"exec", "reload-signal", false, "signal", ""},
	{"template", "reload-signal", false, "", "has no effect: SIGHUP reads the templates again"},
	{"template", "exec-kill-signal", false, "", "has no effect: the command is ended with SIGTERM"},
	{"tools", "kill-signal", false, "", "has no effect: SIGINT and SIGTERM end this command, and SIGTERM the program"},
	{"tools", "max-stale", false, "", "has no effect: -stale lets any server answer"},
	{"tools", "consul-retry", true, "", retries},
	{"tools", "consul-retry-attempts", false, "", retries},
	{"tools", "consul-retry-backoff", false, "", retries},
	{"tools", "consul-retry-max-backoff", false, "", retries},
	{"tools", "retry", false, "", retries},
	{"tools", "consul-ssl", true, "", "has no effect: give -http-addr an https address"},
	{"tools", "ssl", true, "", "has no effect: give -http-addr an https address"},
	{"tools", "consul-ssl-verify", true, "", "has no effect: CONSUL_HTTP_SSL_VERIFY sets whether certificates are checked"},
	{"tools", "ssl-verify", true, "", "has no effect: CONSUL_HTTP_SSL_VERIFY sets whether certificates are checked"},
	{"tools", "consul-auth", false, "", "has no effect: CONSUL_HTTP_AUTH has the name and the password"},
	{"tools", "auth", false, "", "has no effect: CONSUL_HTTP_AUTH has the name and the password"},
	{"tools", "log-level", false, "", "has no effect: important messages go to standard error"},
	{"tools", "pid-file", false, "", "has no effect: no file is written"},
	{"tools", "syslog", true, "", "has no effect: lines go to standard error"},
	{"tools", "syslog-facility", false, "", "has no effect: lines go to standard error"},
	{"tools", "vault-addr", false, "", onlyConsul},
	{"tools", "vault-token", false, "", onlyConsul},
	{"exec", "no-prefix", true, "", "has no effect: names never have a prefix"},
	{"exec", "wait", false, "", "has no effect: changes within 100ms are one"},
	{"template", "create-dest-dirs", true, "", "has no effect: folders are made"},
}

// Add gives the commands below root these flags. They are not in the help.
func Add(root *cobra.Command) {
	for _, f := range Flags {
		each(root, "", func(at string, cmd *cobra.Command) {
			if !f.of(at, cmd) || cmd.Flags().Lookup(f.Name) != nil {
				return
			}
			if f.Is == "" {
				value := &nothing{kind: "string"}
				flag := cmd.Flags().VarPF(value, f.Name, "", f.Instead)
				if f.Switch {
					value.kind, flag.NoOptDefVal = "bool", "true"
				}
				flag.Hidden = true
				return
			}
			if of := cmd.Flags().Lookup(f.Is); of != nil {
				other := *of
				other.Name, other.Hidden, other.Usage = f.Name, true, "another name of -"+f.Is
				cmd.Flags().AddFlag(&other)
			}
		})
	}
}

// Of returns the effect of a flag of a command; "" for one that is not in the table.
func Of(root *cobra.Command, command, name string) (instead string) {
	for _, f := range Flags {
		each(root, "", func(at string, cmd *cobra.Command) {
			if at == command && f.of(at, cmd) && f.Name == name && instead == "" {
				if instead = f.Instead; f.Is != "" {
					instead = "is -" + f.Is
				}
			}
		})
	}
	return instead
}

// Warn warns of the flags that were given to a command and have no effect.
func Warn(cmd *cobra.Command, w io.Writer) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(*nothing); ok && f.Changed && f.Value.String() != "false" {
			fmt.Fprintf(w, "warning: -%s %s\n", f.Name, f.Usage)
		}
	})
}

func (f *Flag) of(at string, cmd *cobra.Command) bool {
	switch f.Command {
	case "":
		return !cmd.HasSubCommands() && cmd.Flags().Lookup("http-addr") != nil && cmd.Flags().Lookup("http-addr").Annotations[connect.ClientFlag] != nil
	case "tools":
		return at == "exec" || at == "template"
	}
	ok, _ := path.Match(f.Command, at)
	return ok
}

func each(cmd *cobra.Command, at string, visit func(at string, cmd *cobra.Command)) {
	visit(at, cmd)
	for _, c := range cmd.Commands() {
		below := c.Name()
		if at != "" {
			below = at + " " + below
		}
		each(c, below, visit)
	}
}

// nothing is the value of a flag that has no effect.
type nothing struct{ kind, text string }

// String implements [pflag.Value].
func (n *nothing) String() string { return n.text }

// Set implements [pflag.Value].
func (n *nothing) Set(s string) error { n.text = s; return nil }

// Type implements [pflag.Value].
func (n *nothing) Type() string { return n.kind }
