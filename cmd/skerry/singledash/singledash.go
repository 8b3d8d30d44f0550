// Package singledash lets a cobra command line be written with single dashes
// before long flags, as Go's flag package and Consul have it.
package singledash

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Rewrite returns args with a second dash before every token that names a long
// flag of the command in question: -http-addr=x becomes --http-addr=x. Other
// tokens stay as they are: values, positional arguments, all after "--", and all
// from the first positional argument on after [StopAtArgument], since these are
// for another program.
func Rewrite(root *cobra.Command, args []string) []string {
	out := make([]string, 0, len(args))
	cmd := root
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		next := child(cmd, args[0])
		if next == nil {
			break
		}
		cmd = next
		out = append(out, args[0])
		args = args[1:]
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	for i := 0; i < len(args); i++ {
		token := args[i]
		if token == "--" || token == "-" || !strings.HasPrefix(token, "-") {
			if token == "--" || cmd.Annotations[stops] != "" {
				return append(out, args[i:]...)
			}
			out = append(out, token)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(token, "-"), "=")
		flag := lookup(cmd, name)
		if flag == nil {
			out = append(out, token)
			continue
		}
		out = append(out, "--"+strings.TrimLeft(token, "-"))
		if !hasValue && flag.NoOptDefVal == "" && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c
		}
	}
	return nil
}

func lookup(cmd *cobra.Command, name string) *pflag.Flag {
	if f := cmd.Flags().Lookup(name); f != nil {
		return f
	}
	return cmd.InheritedFlags().Lookup(name)
}

// stops is the annotation of commands whose flags end at the first positional argument;
// pflag does not expose the setting.
const stops = "singledash_stops"

// StopAtArgument makes the first positional argument of cmd the end of its flags.
func StopAtArgument(cmd *cobra.Command) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[stops] = "yes"
	cmd.Flags().SetInterspersed(false)
}
