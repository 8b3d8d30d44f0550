package check

import (
	"strings"

	"github.com/skerryhq/skerry"
)

// shown is the public state of a check. Unless reporting is set, it is the last reported
// one.
type shown struct {
	id        string
	output    string
	status    code
	reporting bool // a goroutine is in report for it
	gone      bool // must not be reported any more
}

func (s *shown) face() *shown { return s }

// code is a state in one byte: there are many checks.
type code uint8

var codes = [...]skerry.Health{skerry.Critical, skerry.Warning, skerry.Passing}

// encode takes an unknown state for critical.
func encode(h skerry.Health) code {
	for i, known := range codes {
		if known == h {
			return code(i)
		}
	}
	return 0
}

func (c code) health() skerry.Health { return codes[c] }

// show makes status and output the public state of s, and reports them if they are new.
// The lock is held before and after, not while it reports.
func (r *Runner) show(s *shown, status code, output string) {
	if s.gone || s.status == status && s.output == output {
		return
	}
	s.status, s.output = status, strings.Clone(output)
	if !s.reporting { // the goroutine that reports looks again when it is done
		r.report(s)
	}
}

func (r *Runner) report(s *shown) {
	s.reporting = true
	r.reporting++
	for !s.gone {
		status, output := s.status, s.output
		r.mu.Unlock()
		r.cfg.Report(s.id, Result{Status: status.health(), Output: output})
		r.mu.Lock()
		if s.status == status && s.output == output {
			break
		}
	}
	s.reporting = false
	r.reporting--
	r.settled.Broadcast()
}
