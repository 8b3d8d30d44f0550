package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/tongue/consul"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3". Empty,
// it comes from the build information.
var version string

// versionString returns Skerry's version without a leading v; "0.0.0-dev" for a
// build that has none.
func versionString() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "" && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	return cmp.Or(strings.TrimPrefix(v, "v"), "0.0.0-dev")
}

// revision returns the commit of the build, or "".
func revision() string { return buildSetting("vcs.revision") }

// buildDate returns the time of that commit in RFC 3339, or a fixed date in the past.
func buildDate() string { return cmp.Or(buildSetting("vcs.time"), "1970-01-01T00:00:01Z") }

func buildSetting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func newVersionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printVersion(cmd, format)
		},
	}
	show.FormatFlag(cmd, &format)
	return cmd
}

// asConsul reports whether the program was called by that name.
func asConsul(cmd *cobra.Command) bool { return cmd.Root().Name() == "consul" }

// versionText returns the output of the version command and of the flag. Called as
// consul, it has the lines that "consul version" has, of which tools read the first.
func versionText(name string) string {
	var b strings.Builder
	if name != "consul" {
		fmt.Fprintf(&b, "Skerry v%s\nSpeaks the API of Consul v%s\n", versionString(), consul.SpokenVersion)
		if r := revision(); r != "" {
			fmt.Fprintf(&b, "Revision %s\n", r)
		}
		return b.String()
	}
	fmt.Fprintf(&b, "Consul v%s\n", consul.SpokenVersion)
	if r := revision(); r != "" {
		fmt.Fprintf(&b, "Revision %s\n", r)
	}
	fmt.Fprintf(&b, "Build Date %s\nAnswered by Skerry v%s\n", buildDate(), versionString())
	return b.String()
}

func printVersion(cmd *cobra.Command, format string) error {
	w := cmd.OutOrStdout()
	if format != "json" {
		_, err := fmt.Fprint(w, versionText(cmd.Root().Name()))
		return err
	}
	shown := map[string]any{
		"Version": versionString(), "SkerryVersion": versionString(), "ConsulVersion": consul.SpokenVersion,
		"Revision": revision(), "BuildDate": buildDate(), "GoVersion": runtime.Version(),
	}
	if asConsul(cmd) {
		shown["Version"], shown["Prerelease"] = consul.SpokenVersion, ""
		shown["RPC"] = map[string]int{"Default": 2, "Min": 2, "Max": 3} // as in Consul; nothing here speaks it
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(shown)
}
