// Package kinds has the table of all kinds of checks. A new kind is a folder
// beside this one and a line here.
package kinds

import (
	"log/slog"

	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/check/alias"
	"github.com/skerryhq/skerry/check/docker"
	"github.com/skerryhq/skerry/check/grpc"
	"github.com/skerryhq/skerry/check/h2ping"
	"github.com/skerryhq/skerry/check/http"
	"github.com/skerryhq/skerry/check/osservice"
	"github.com/skerryhq/skerry/check/script"
	"github.com/skerryhq/skerry/check/tcp"
	"github.com/skerryhq/skerry/check/ttl"
	"github.com/skerryhq/skerry/check/udp"
)

// Env is the environment of the kinds in the process. The zero value offers all but
// aliases.
type Env struct {
	Alias      alias.Lookup // nil: alias checks are refused
	DockerHost string       // the engine's address; "": from the environment
	Log        *slog.Logger // logs processes of scripts that cannot be ended; may be nil
	Systemctl  string       // the program to ask; "": the one on the PATH
}

// All returns every kind. When a definition has several targets, the first one here
// counts; ttl is last, as a TTL beside a target is a mistake to report.
func All(env Env) []check.Kind {
	return []check.Kind{
		http.Kind(),
		tcp.Kind(),
		udp.Kind(),
		grpc.Kind(),
		h2ping.Kind(),
		docker.Kind(env.DockerHost, env.Log),
		script.Kind(env.Log),
		osservice.Kind(env.Systemctl),
		alias.Kind(env.Alias),
		ttl.Kind(),
	}
}
