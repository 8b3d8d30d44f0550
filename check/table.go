package check

import (
	"time"

	"github.com/skerryhq/skerry"
)

// Table is the list of kinds in the order in which their target fields count.
type Table []Kind

// Policy sets which definitions are allowed.
type Policy struct {
	AllowScripts bool // checks that run a program: script and docker
	Local        bool // the definition comes from a configuration file, not from a caller
}

// Limits that definitions are brought within, as in Consul: silently.
const (
	MinInterval        = time.Second
	MinDeregisterAfter = time.Minute
	MaxTimeout         = 10 * time.Minute
	DefaultOutputSize  = 4096 // bytes
)

// KindOf returns the name of the kind of a definition; ok is false when no
// target field is set.
func (t Table) KindOf(def *skerry.CheckDefinition) (name string, ok bool) {
	k := t.kind(def)
	if k == nil {
		return "", false
	}
	return k.Name, true
}

func (t Table) kind(def *skerry.CheckDefinition) *Kind {
	for i := range t {
		if t[i].Matches(def) {
			return &t[i]
		}
	}
	return nil
}

// Validate reports why a definition cannot be run: of kind [skerry.Invalid], or
// [skerry.Denied] when the policy forbids it. Wording and order are
// those recorded from Consul where there is a recording. The
// ID, the name and the initial status are the registrar's to judge.
func (t Table) Validate(def *skerry.CheckDefinition, p Policy) error {
	if def.Interval > 0 && def.TTL > 0 {
		return invalid("Interval and TTL cannot both be specified")
	}
	k := t.kind(def)
	switch {
	case k == nil || k.New == nil:
		if def.TTL <= 0 {
			return invalid("TTL must be > 0 for TTL checks")
		}
	case k.Timeout > 0 && def.Interval <= 0:
		return invalid("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	}
	if def.OutputMaxSize < 0 {
		return invalid("MaxOutputMaxSize must be positive")
	}
	switch {
	case def.SuccessBeforePassing < 0:
		return invalid("SuccessBeforePassing must be 0 or more")
	case def.FailuresBeforeWarning < 0:
		return invalid("FailuresBeforeWarning must be 0 or more")
	case def.FailuresBeforeCritical < 0:
		return invalid("FailuresBeforeCritical must be 0 or more")
	case def.FailuresBeforeWarning > max(def.FailuresBeforeCritical, 1):
		return invalid("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
	}
	if k == nil {
		return nil
	}
	if k.Valid != nil {
		if err := k.Valid(def); err != nil {
			return err
		}
	}
	if k.Runs && !p.AllowScripts {
		return denied(p)
	}
	return nil
}

func invalid(message string) error {
	return &skerry.Error{Kind: skerry.Invalid, Subject: "check", Message: message}
}

func denied(p Policy) error {
	message := "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
	if p.Local {
		message = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
	}
	return &skerry.Error{Kind: skerry.Denied, Subject: "check", Message: message}
}

// Clamped returns the definition as it takes effect: with defaults filled in and
// within the limits. outputMax is the agent's own limit of output; a check may
// ask for less, not for more.
func (t Table) Clamped(def *skerry.CheckDefinition, outputMax int) skerry.CheckDefinition {
	d := *def
	if k := t.kind(def); k != nil && k.Timeout > 0 {
		d.Interval = max(d.Interval, MinInterval)
		if d.Timeout <= 0 {
			d.Timeout = k.Timeout
		}
		d.Timeout = min(d.Timeout, MaxTimeout)
	}
	if d.DeregisterCriticalServiceAfter > 0 {
		d.DeregisterCriticalServiceAfter = max(d.DeregisterCriticalServiceAfter, MinDeregisterAfter)
	}
	if outputMax <= 0 {
		outputMax = DefaultOutputSize
	}
	if d.OutputMaxSize <= 0 || d.OutputMaxSize > outputMax {
		d.OutputMaxSize = outputMax
	}
	return d
}
