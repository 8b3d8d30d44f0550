package agent

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// noteReap keeps the list of checks that may end their instance. Called with mu held.
func (a *Agent) noteReap(cs *checkState) {
	if cs.def != nil && cs.def.DeregisterCriticalServiceAfter > 0 && cs.check.Status == skerry.Critical && cs.check.ServiceID != "" {
		a.reapable[cs.check.ID] = cs
	} else {
		delete(a.reapable, cs.check.ID)
	}
}

// Run withdraws instances whose checks have been critical for longer than
// deregister_critical_service_after, until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	tick := time.NewTicker(a.cfg.ReapEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.mu.RLock()
			a.deadlines.touch(time.Now())
			a.mu.RUnlock()
			a.reap(ctx)
		}
	}
}

// due reports whether a check has been critical for too long. The time in which
// this agent was down does not count. Called with mu held.
func (a *Agent) due(cs *checkState) bool {
	since := cs.check.Since
	if since.Before(a.started) {
		since = a.started
	}
	return time.Since(since) >= max(cs.def.DeregisterCriticalServiceAfter, check.MinDeregisterAfter)
}

func (a *Agent) reap(ctx context.Context) {
	a.mu.RLock()
	some := false
	for _, cs := range a.reapable {
		some = some || a.due(cs)
	}
	a.mu.RUnlock()
	if !some {
		return
	}
	e, err := a.begin()
	if err != nil {
		a.log.Warn("instances whose checks were critical for too long stay for now", "error", err)
		return
	}
	// Looked at again: a check may have recovered meanwhile.
	for _, cs := range a.reapable {
		if c := cs.check; a.due(cs) && a.program(c.ServiceID) != nil {
			a.log.Info("withdrawing an instance: its check was critical for too long", "service", c.ServiceID, "check", c.ID, "since", c.Since)
			e.removeService(c.ServiceID)
		}
	}
	if err := e.commit(ctx); err != nil {
		a.log.Error("a withdrawal was not written to disk", "error", err)
	}
}
