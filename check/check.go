// Package check runs health checks: it defines a kind of check, schedules each check and
// interprets its results. One kind of check is one folder below this one; package
// check/kinds has the table of all.
package check

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
)

// Result is the outcome of one run.
type Result struct {
	Status skerry.Health
	Output string
	// Fault is set where the run could not be made for a reason of ours: the check
	// keeps its state then. See [Failed].
	Fault Fault
}

// Prober runs one probe. It must end soon after ctx does, whose deadline is the
// check's timeout; a run that found no answer is a critical Result with the reason
// as its output. A Prober keeps the output within the definition's OutputMaxSize
// (see [Capture]). Check is never called twice at once.
type Prober interface {
	Check(ctx context.Context) Result
}

// Watcher is a Prober that learns by itself when its answer may differ. The
// Runner calls Watch at once and again when changed is closed, and never by the
// clock. A nil changed never closes.
type Watcher interface {
	Prober
	Watch() (r Result, changed <-chan struct{})
}

// Heeder is a Prober that hears when its target starts or ends. The Runner probes then, as soon as
// 100 ms after the last run, and by the clock as well.
type Heeder interface {
	Prober
	// Heed calls changed each time until ctx ends.
	Heed(ctx context.Context, changed func())
}

// Kind is a row of the table of kinds.
type Kind struct {
	Name    string                                        // "http": also skerry.Check.Type
	Matches func(*skerry.CheckDefinition) bool            // its target field is set
	Timeout time.Duration                                 // default timeout of a run; 0: not run by the clock, needs no interval
	New     func(*skerry.CheckDefinition) (Prober, error) // nil: a TTL check, which is not probed
	// Peers name the systems that a run depends on and may hang with, as in "host:port":
	// checks with a common peer share its part of the runners. May be nil.
	Peers func(*skerry.CheckDefinition) []string
	Runs  bool                                // runs a program that the definition names; see [Policy]
	Valid func(*skerry.CheckDefinition) error // further rules, of kind [skerry.Invalid]; may be nil
}

// State is the state that a check resumes with. An empty Status means the definition's.
type State struct {
	Result
	Service  string    // the name of the service that it is of; "": the node's
	Deadline time.Time // TTL checks: when it expires, by the wall clock; zero: a full TTL from now
}

// Report is called with a check's change; see [Config].
type Report func(id string, r Result)
