package agent

import (
	"context"
	"reflect"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/journal"
)

func (cs *checkState) isTTL() bool { return cs.def != nil && cs.check.Type == "ttl" }

// startCheck hands a check to the runner. A restored one has the time left that it had
// when the last process ended. Called with edit held.
//
// again: the runner may run a check of this ID already, whose last report can
// come between our reading of the state and its Start. Then it starts once more.
func (a *Agent) startCheck(cs *checkState, again bool) {
	const most = 3 // a check that turns with every run ends it too
	for range most {
		a.mu.RLock()
		c := cs.check
		current := a.checks[c.ID] == cs
		a.mu.RUnlock()
		if !current {
			return // replaced within the same edit
		}
		state := check.State{Result: check.Result{Status: c.Status, Output: c.Output}, Service: c.ServiceName}
		if left, ok := a.resume[c.ID]; ok && cs.isTTL() {
			state.Deadline = time.Now().Add(left)
			a.noteDeadline(cs, state.Deadline)
		}
		err := a.runner.Start(c.ID, cs.def, state)
		if skerry.KindOf(err) == skerry.Unavailable {
			return // we are shutting down, which is no state of the check
		}
		if err != nil {
			a.log.Error("check cannot run", "check", c.ID, "error", err)
			a.report(c.ID, check.Result{Status: skerry.Critical, Output: err.Error()})
			return
		}
		a.mu.RLock()
		same := cs.check == c
		a.mu.RUnlock()
		if same || !again {
			return
		}
	}
}

// noteDeadline does nothing for a check that was replaced: its slot may be another's.
func (a *Agent) noteDeadline(cs *checkState, deadline time.Time) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.checks[cs.check.ID] == cs {
		a.deadlines.set(cs.slot, deadline)
	}
}

// report takes a result from the runner.
func (a *Agent) report(id string, r check.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cs := a.checks[id]
	if cs == nil || cs.def == nil {
		return
	}
	c := *cs.check
	c.Stamp = skerry.Stamp{}
	if a.cfg.DiscardOutput {
		r.Output = ""
	}
	if c.Status == r.Status && c.Output == r.Output {
		return
	}
	turned := c.Status != r.Status
	c.Output = r.Output
	if turned {
		a.log.Info("check changed its state", "check", id, "service", c.ServiceID, "from", c.Status, "to", r.Status)
		c.Status, c.Since = r.Status, time.Now()
	}
	cs.check = &c
	if turned {
		// The output alone is not worth a write: it comes again with the next run.
		cs.batch = a.logState(&c)
		a.tallyCheck(cs)
		a.noteReap(cs)
		a.wakeLocal()
	}
	a.announce(skerry.Delta{Checks: []*skerry.Check{&c}})
}

func (a *Agent) logState(c *skerry.Check) *journal.Batch {
	return a.ledger.Append(KeeperName, record{State: &stateRecord{ID: c.ID, Status: c.Status, Output: c.Output, Since: c.Since}})
}

// UpdateTTL implements [skerry.Registrar]. A beat that changes nothing causes no write
// and wakes no watcher.
func (a *Agent) UpdateTTL(ctx context.Context, id string, status skerry.Health, output string) error {
	a.mu.RLock()
	cs := a.checks[id]
	a.mu.RUnlock()
	if cs == nil || cs.source == sourceProcess {
		return unknownCheck(id)
	}
	deadline, err := a.runner.Beat(id, status, output)
	if err != nil {
		return err
	}
	a.mu.RLock()
	if a.checks[id] == cs {
		a.deadlines.set(cs.slot, deadline)
	}
	batch := cs.batch
	a.mu.RUnlock()
	if batch == nil {
		return nil
	}
	return a.settle(ctx, cs, batch)
}

// settle waits until the state of a check is on disk. If its write failed and
// the journal works again it is written again: it may have come too late for the
// snapshot that mended the journal.
func (a *Agent) settle(ctx context.Context, cs *checkState, batch *journal.Batch) error {
	err := wait(ctx, batch)
	if ctx.Err() != nil {
		return err // the next beat waits in its place
	}
	a.mu.Lock()
	if cs.batch == batch {
		cs.batch = nil
		if err != nil && a.checks[cs.check.ID] == cs {
			cs.batch = a.logState(cs.check)
		}
	}
	again := cs.batch
	a.mu.Unlock()
	if err == nil || again == nil {
		return err
	}
	return wait(ctx, again)
}

// runs reports whether a check is there already, with this definition.
func (a *Agent) runs(cs *checkState) bool {
	old := a.checks[cs.check.ID]
	return old != nil && old.def != nil && old.source == cs.source && sameDefinition(old.def, cs.def) &&
		old.check.ServiceID == cs.check.ServiceID && old.check.Name == cs.check.Name && old.check.Notes == cs.check.Notes
}

// ttlKey is the definition of a plain TTL check. Programs register thousands of equal
// ones; they share one definition.
type ttlKey struct {
	ttl, after time.Duration
	size       int
}

func (a *Agent) intern(d *skerry.CheckDefinition) *skerry.CheckDefinition {
	// Identity and first state live in the record.
	bare := *d
	bare.ID, bare.Name, bare.Notes, bare.Status, bare.ServiceID = "", "", "", "", ""
	bare.TTL, bare.DeregisterCriticalServiceAfter, bare.OutputMaxSize = 0, 0, 0
	if d.TTL == 0 || !reflect.ValueOf(&bare).Elem().IsZero() {
		return stripped(d)
	}
	key := ttlKey{d.TTL, d.DeregisterCriticalServiceAfter, d.OutputMaxSize}
	have := a.ttlDefs[key]
	if have == nil {
		have = stripped(d)
		const most = 1000 // a program may make up a TTL for each check
		if len(a.ttlDefs) < most {
			a.ttlDefs[key] = have
		}
	}
	return have
}

// stripped copies a definition without the fields of the check's record.
func stripped(d *skerry.CheckDefinition) *skerry.CheckDefinition {
	out := *d
	out.ID, out.Name, out.Notes, out.Status, out.ServiceID = "", "", "", "", ""
	return &out
}
