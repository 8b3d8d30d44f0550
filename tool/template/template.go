// Package template renders files from the registry, with the language and the library of
// consul-template. It asks any address that speaks Consul's API.
//
// Beyond the original it keeps the last rendering when a list turns empty, or shorter
// than a minimum, and the registry does not say that the instances were withdrawn; lets a
// command judge a file before it takes its place; and goes on with its last data while
// the registry does not answer.
package template

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tool/child"
)

// File is a template and its output.
type File struct {
	Source, Dest string
	Command      string // a line for the shell, run when the file has changed; "": none
}

// ParseFile understands SOURCE:DEST and SOURCE:DEST:COMMAND; the command may hold
// colons.
func ParseFile(s string) (File, error) {
	parts := strings.SplitN(s, ":", 3)
	f := File{Source: parts[0]}
	if len(parts) > 1 {
		f.Dest = parts[1]
	}
	if len(parts) > 2 {
		f.Command = parts[2]
	}
	if f.Source == "" || f.Dest == "" {
		return File{}, skerry.Errorf(skerry.Invalid, "%q: want SOURCE:DEST or SOURCE:DEST:COMMAND", s)
	}
	return f, nil
}

// Wait is how long the registry must be quiet before files are rendered.
type Wait struct{ Min, Max time.Duration }

// ParseWait understands MIN and MIN:MAX; MAX is four times MIN unless given.
func ParseWait(s string) (Wait, error) {
	first, second, given := strings.Cut(s, ":")
	shortest, err := time.ParseDuration(first)
	longest := 4 * shortest
	if err == nil && given {
		longest, err = time.ParseDuration(second)
	}
	if err != nil || shortest < 0 || longest < shortest {
		return Wait{}, skerry.Errorf(skerry.Invalid, "%q: want MIN or MIN:MAX, such as 2s:10s", s)
	}
	return Wait{shortest, longest}, nil
}

// Options configures a run. Files and Registry are required.
type Options struct {
	Files    []File
	Registry *dep.ClientSet // with a client of Consul's
	MaxStale time.Duration  // how far behind the server that answers may be; 0: not at all
	Once     bool           // end when all is rendered
	Dry      bool           // print the files, and run nothing
	Wait     Wait           // of all renderings but the first
	// Validate is a line for the shell that judges a file before it takes its place:
	// SKERRY_TEMPLATE, and {} in the line, is its path then. A failure keeps the
	// last rendering.
	Validate string
	Backup   bool // keep the file before as FILE.bak

	// Grace is how long a list is held that is too short to be true; 0: no guard.
	Grace time.Duration
	// MinInstances is how many instances of a service are too few; 0: none at all.
	MinInstances int
	Cause        Cause // nil: the cause of empty lists is unknown

	// Child runs from the first rendering on; without a Command nothing does. At a
	// change it is sent Reload; nil: it is run again.
	Child  child.Spec
	Reload os.Signal
	Splay  time.Duration

	// Signals are passed on to the program. Without one, those to stop end Run, and
	// SIGHUP reads the templates again.
	Signals        <-chan os.Signal
	Stdout, Stderr io.Writer
	Log            *slog.Logger
}
