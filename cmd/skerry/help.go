package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// unindented takes away the room for one-letter flags, which no command has, and
// one of the dashes.
var unindented = regexp.MustCompile(`(?m)^ {6}(--)?`)

// help prints the help of a command. Flags are shown with one dash, as Consul's users
// write them; two work as well.
func help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	use := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		use = cmd.CommandPath() + " <command> [flags]"
	}
	fmt.Fprintf(w, "Usage: %s\n\n", use)
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(w, "%s\n", strings.TrimSpace(text))
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n\n")
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(tw, "  %s\t%s\n", c.Name(), c.Short)
			}
		}
		tw.Flush()
	}
	own, client := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Annotations[connect.ClientFlag] != nil:
			client.AddFlag(f)
		case f.Name != "help":
			own.AddFlag(f)
		}
	})
	showFlags(w, "Flags", own)
	showFlags(w, "Flags of all client commands", client)
}

func showFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s:\n\n%s", title, unindented.ReplaceAllStringFunc(flags.FlagUsagesWrapped(100), func(s string) string {
			if strings.HasSuffix(s, "--") {
				return "  -"
			}
			return s[5:]
		}))
	}
}
