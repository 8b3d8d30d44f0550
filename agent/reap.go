package agent

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
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

func (a *Agent) reap(ctx context.Context) {
	a.mu.RLock()
	var due []*skerry.Check
	for _, cs := range a.reapable {
		// The time in which this agent was down does not count.
		since := cs.check.Since
		if since.Before(a.started) {
			since = a.started
		}
		if time.Since(since) >= cs.def.DeregisterCriticalServiceAfter {
			due = append(due, cs.check)
		}
	}
	a.mu.RUnlock()
	for _, c := range due {
		a.log.Info("withdrawing an instance: its check was critical for too long", "service", c.ServiceID, "check", c.ID, "since", c.Since)
		if err := a.DeregisterService(ctx, c.ServiceID); err != nil && skerry.KindOf(err) != skerry.NotFound {
			a.log.Error("withdrawing failed", "service", c.ServiceID, "error", err)
		}
	}
}
