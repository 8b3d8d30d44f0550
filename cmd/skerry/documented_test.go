package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/accepted"
)

// documentedFlags returns the flags of Consul's commands that are kept, of
// consul-template and of envconsul, by command: "kv get: detailed keys …".
func documentedFlags(t *testing.T) (commands []string, flags map[string][]string) {
	t.Helper()
	b, err := os.ReadFile("testdata/consul-flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	flags = map[string][]string{}
	for line := range strings.Lines(string(b)) {
		command, names, _ := strings.Cut(line, ":")
		commands, flags[command] = append(commands, command), strings.Fields(names)
	}
	return commands, flags
}

// Every documented flag is understood; the table has those that do less.
func TestDocumentedFlags(t *testing.T) {
	root := newRoot("consul")
	commands, flags := documentedFlags(t)
	var b strings.Builder
	b.WriteString("| command | flag | here |\n|---|---|---|\n")
	everywhere := map[string]bool{}
	for _, command := range commands {
		cmd, rest, err := root.Find(strings.Fields(command))
		if err != nil || len(rest) > 0 {
			t.Errorf("there is no command %q", command)
			continue
		}
		for _, name := range flags[command] {
			f := cmd.Flags().Lookup(name)
			if f == nil {
				t.Errorf("%s -%s is not understood", command, name)
				continue
			}
			if !f.Hidden {
				continue
			}
			instead, where := accepted.Of(root, command, name), "`"+command+"`"
			if name == "namespace" || name == "partition" {
				if where = "all"; everywhere[name] {
					continue
				}
				everywhere[name] = true
			}
			if instead == "" {
				t.Errorf("%s -%s: nothing says what happens instead", command, name)
			}
			fmt.Fprintf(&b, "| %s | `-%s` | %s |\n", where, name, instead)
		}
	}
	flagTable(t, b.String())
}

func flagTable(t *testing.T, want string) {
	t.Helper()
	const file, begin, end = "../../config/README.md", "<!-- consul flags -->\n", "<!-- /consul flags -->"
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(readme), begin)
	found, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("config/README.md has no place for the table")
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if found != want {
		t.Error("the table of config/README.md is not that of the code; -update writes it anew")
	}
}

// Every row of the table is a flag of some command, and of none that has it anyway.
func TestAcceptedFlagsAreOfCommands(t *testing.T) {
	for _, f := range accepted.Flags {
		found := false
		var walk func(*cobra.Command)
		walk = func(c *cobra.Command) {
			if flag := c.Flags().Lookup(f.Name); flag != nil && flag.Hidden {
				found = true
			}
			for _, sub := range c.Commands() {
				walk(sub)
			}
		}
		walk(newRoot("consul"))
		if !found {
			t.Errorf("-%s of %q is of no command", f.Name, f.Command)
		}
	}
}

// What is accepted is told of; what is another name is not.
func TestAcceptedFlagsWarn(t *testing.T) {
	for line, want := range map[string]string{
		"kv get -namespace x -http-addr 127.0.0.1:1 a":                                "warning: -namespace belongs to Consul Enterprise and has no effect\n",
		"acl token read -meta -id a -http-addr 127.0.0.1:1":                           "warning: -meta has no effect: -format json shows the indexes\n",
		"exec -consul-addr 127.0.0.1:1 -pristine -prefix a -once -bad -- true":        "",
		"exec -consul-addr 127.0.0.1:1 -log-level debug -splay -1s -prefix a -- true": "warning: -log-level has no effect: important messages go to standard error\n",
		"members -consul 127.0.0.1:1":                                                 "",
	} {
		_, _, stderr := command(t.Context(), t, strings.Fields(line)...)
		if got := strings.Contains(stderr, "warning:"); got != (want != "") || !strings.Contains(stderr, want) {
			t.Errorf("%s: %q, want %q", line, stderr, want)
		}
	}
	_, _, stderr := command(t.Context(), t, "watch", "-type", "nodes", "-http-addr", "127.0.0.1:1")
	if !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("%q", stderr)
	}
}
