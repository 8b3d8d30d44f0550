package singledash

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func tree() *cobra.Command {
	root := &cobra.Command{Use: "root", Version: "1"}
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Run: func(*cobra.Command, []string) {}}
	list.Flags().String("http-addr", "", "")
	list.Flags().Bool("stale", false, "")
	list.Flags().Int("n", 0, "")
	run := &cobra.Command{Use: "run", Run: func(*cobra.Command, []string) {}}
	run.Flags().String("name", "", "")
	run.Flags().Bool("stale", false, "")
	StopAtArgument(run)
	group := &cobra.Command{Use: "group"}
	group.PersistentFlags().String("shared", "", "")
	group.AddCommand(list)
	root.AddCommand(group, run)
	return root
}

func TestRewrite(t *testing.T) {
	for given, want := range map[string]string{
		"group list -http-addr x":                 "group list --http-addr x",
		"group list -http-addr=x a":               "group list --http-addr=x a",
		"group list --http-addr=x":                "group list --http-addr=x",
		"group ls -stale -n 3":                    "group ls --stale --n 3",
		"group list a -stale b -n=3":              "group list a --stale b --n=3",
		"group list -http-addr -stale -stale":     "group list --http-addr -stale --stale",
		"group list -shared x":                    "group list --shared x",
		"group list -other -stale":                "group list -other --stale",
		"group list -- -stale":                    "group list -- -stale",
		"group list - -stale":                     "group list - --stale",
		"group list -help":                        "group list --help",
		"run -name web ./server -stale -name x":   "run --name web ./server -stale -name x",
		"run -name web -stale -- ./server -stale": "run --name web --stale -- ./server -stale",
		"run -name":                               "run --name",
		"-version":                                "--version",
		"-help":                                   "--help",
		"-h":                                      "-h",
		"none -stale":                             "none -stale",
		"":                                        "",
	} {
		root := tree()
		got := Rewrite(root, strings.Fields(given))
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: got %q, want %q", given, strings.Join(got, " "), want)
		}
	}
}

func TestParsed(t *testing.T) {
	root := tree()
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var rest []string
	run.Run = func(cmd *cobra.Command, args []string) {
		name, _ = cmd.Flags().GetString("name")
		rest = args
	}
	root.SetArgs(Rewrite(root, strings.Fields("run -name web ./server -stale --name x")))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if name != "web" || !slices.Equal(rest, []string{"./server", "-stale", "--name", "x"}) {
		t.Errorf("got %q and %q", name, rest)
	}
}
