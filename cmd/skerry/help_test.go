package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command has help that says how it is called and what each flag means, in
// lines that fit a terminal.
func TestEveryCommandHasHelp(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return // cobra's own
		}
		checkHelp(t, cmd)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot("skerry"))
}

func checkHelp(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	path := strings.Fields(cmd.CommandPath())[1:]
	code, stdout, stderr := command(t.Context(), t, append(path, "-help")...)
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: "+cmd.CommandPath()) {
		t.Errorf("%s: code %d, %q, %.60q", cmd.CommandPath(), code, stderr, stdout)
	}
	if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
		t.Errorf("%s: in a list it is %q; want a line without a full stop", cmd.CommandPath(), cmd.Short)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" || f.Name != "help" && !f.Hidden && !strings.Contains(stdout, "  -"+f.Name+" ") && !strings.Contains(stdout, "  -"+f.Name+"\n") {
			t.Errorf("%s: -%s is not explained", cmd.CommandPath(), f.Name)
		}
	})
	for line := range strings.Lines(stdout) {
		if len(line) > 101 && !strings.HasPrefix(line, "Usage: ") {
			t.Errorf("%s: a line of %d: %s", cmd.CommandPath(), len(line), line)
		}
	}
}
