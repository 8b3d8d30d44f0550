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
)

// version is set by the release build: -ldflags "-X main.version=1.2.3". Empty,
// it comes from the build information.
var version string

// consulVersion is the version whose API is spoken, for programs that look at
// what "consul version" says.
const consulVersion = "1.22.0"

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

func printVersion(cmd *cobra.Command, format string) error {
	shown, skerry := versionString(), versionString()
	if cmd.Root().Name() == "consul" {
		shown = consulVersion
	}
	w := cmd.OutOrStdout()
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(map[string]string{
			"Version": shown, "SkerryVersion": skerry, "ConsulVersion": consulVersion,
			"Revision": revision(), "BuildDate": buildDate(), "GoVersion": runtime.Version(),
		})
	}
	if cmd.Root().Name() == "consul" {
		fmt.Fprintf(w, "Consul v%s\nAnswered by Skerry v%s\n", shown, skerry)
	} else {
		fmt.Fprintf(w, "Skerry v%s\nSpeaks the API of Consul v%s\n", shown, consulVersion)
	}
	if r := revision(); r != "" {
		fmt.Fprintf(w, "Revision %s\n", r)
	}
	return nil
}
