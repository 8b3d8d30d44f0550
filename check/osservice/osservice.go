// Package osservice is the check that asks the service manager of this host about one of
// its services. It knows systemd: an active unit passes, one that is not is critical, and
// where the state is unknown the check warns, as that is no result for the service.
package osservice

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/process"
)

// Kind returns the row of the table. systemctl is the program to ask; "" looks for
// "systemctl" on the PATH.
func Kind(systemctl string) check.Kind {
	if systemctl == "" {
		systemctl = "systemctl"
	}
	return check.Kind{
		Name:    "os_service",
		Matches: func(d *skerry.CheckDefinition) bool { return d.OSService != "" },
		Timeout: 10 * time.Second,
		Peers:   func(*skerry.CheckDefinition) []string { return []string{"systemd"} },
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			return &prober{systemctl: systemctl, unit: d.OSService, outputMax: d.OutputMaxSize}, nil
		},
	}
}

type prober struct {
	systemctl, unit string
	outputMax       int
}

// Check implements [check.Prober].
func (p *prober) Check(ctx context.Context) check.Result {
	var said, complaint strings.Builder
	cmd := exec.CommandContext(ctx, p.systemctl, "is-active", "--", p.unit)
	cmd.Stdout, cmd.Stderr = &limited{&said}, &limited{&complaint}
	cmd.WaitDelay = time.Second
	process.Lead(cmd, process.NewMark())
	err := cmd.Run()
	if cmd.ProcessState == nil && check.FaultOf(err) != "" && ctx.Err() == nil {
		return check.Failed(err)
	}
	reason := strings.TrimSpace(complaint.String())
	if reason == "" && err != nil {
		reason = err.Error()
	}
	if ctx.Err() != nil {
		reason = "systemctl did not answer in time"
	}
	r := judge(p.unit, strings.TrimSpace(said.String()), reason)
	r.Output = check.Truncate(r.Output, p.outputMax)
	return r
}

// judge takes systemd's word for the unit's state, and the reason why there is none.
func judge(unit, state, reason string) check.Result {
	switch state {
	case "active":
		return check.Result{Status: skerry.Passing, Output: fmt.Sprintf("Service %s is active", unit)}
	case "inactive", "failed", "deactivating", "unknown":
		return check.Result{Status: skerry.Critical, Output: fmt.Sprintf("Service %s is %s", unit, state)}
	case "activating", "reloading", "refreshing", "maintenance":
		return check.Result{Status: skerry.Warning, Output: fmt.Sprintf("Service %s is %s", unit, state)}
	}
	if state != "" {
		reason = fmt.Sprintf("systemctl said %q", state)
	}
	return check.Result{Status: skerry.Warning, Output: fmt.Sprintf("The state of service %s is not known: %s", unit, reason)}
}

// limited keeps the beginning of systemctl's output.
type limited struct{ to *strings.Builder }

func (l *limited) Write(b []byte) (int, error) {
	const most = 1024
	l.to.Write(b[:min(len(b), most-min(l.to.Len(), most))])
	return len(b), nil
}
