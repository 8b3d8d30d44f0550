package agent

import (
	"context"
	"reflect"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

func (cs *checkState) isTTL() bool { return cs.def != nil && cs.check.Type == "ttl" }

// startCheck tells the runner of a check; with the time left that it had when
// this process ended, if it was restored.
func (a *Agent) startCheck(cs *checkState) {
	state := check.State{Result: check.Result{Status: cs.check.Status, Output: cs.check.Output}}
	if left, ok := a.resume[cs.check.ID]; ok && cs.isTTL() {
		state.Deadline = time.Now().Add(left)
		a.deadlines.set(cs.slot, state.Deadline)
	}
	if err := a.runner.Start(cs.check.ID, cs.def, state); err != nil {
		a.log.Error("check cannot run", "check", cs.check.ID, "error", err)
		a.report(cs.check.ID, check.Result{Status: skerry.Critical, Output: err.Error()})
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
		cs.batch = a.ledger.Append(KeeperName, record{State: &stateRecord{ID: id, Status: c.Status, Output: c.Output, Since: c.Since}})
		a.noteReap(cs)
		a.wakeLocal()
	}
	a.announce(skerry.Delta{Checks: []*skerry.Check{&c}})
}

// UpdateTTL implements [skerry.Registrar]. A beat that changes nothing costs no
// write and wakes nobody.
func (a *Agent) UpdateTTL(_ context.Context, id string, status skerry.Health, output string) error {
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
	a.deadlines.set(cs.slot, deadline)
	batch := cs.batch
	a.mu.RUnlock()
	if batch == nil {
		return nil
	}
	if err := wait(batch); err != nil {
		return err
	}
	a.mu.Lock()
	if cs.batch == batch {
		cs.batch = nil
	}
	a.mu.Unlock()
	return nil
}

// runs reports whether a check is there already, with this definition.
func (a *Agent) runs(cs *checkState) bool {
	old := a.checks[cs.check.ID]
	return old != nil && old.def != nil && old.source == cs.source && reflect.DeepEqual(old.def, cs.def) &&
		old.check.ServiceID == cs.check.ServiceID && old.check.Name == cs.check.Name && old.check.Notes == cs.check.Notes
}

// ttlKey is what a plain TTL check's definition consists of. Programs register
// thousands of equal ones; they share one definition.
type ttlKey struct {
	ttl, after time.Duration
	size       int
}

func (a *Agent) intern(d skerry.CheckDefinition) *skerry.CheckDefinition {
	// Identity and first state live in the record.
	d.ID, d.Name, d.Notes, d.Status, d.ServiceID = "", "", "", "", ""
	key := ttlKey{d.TTL, d.DeregisterCriticalServiceAfter, d.OutputMaxSize}
	plain := skerry.CheckDefinition{TTL: d.TTL, DeregisterCriticalServiceAfter: d.DeregisterCriticalServiceAfter, OutputMaxSize: d.OutputMaxSize}
	if d.TTL == 0 || !reflect.DeepEqual(d, plain) {
		return &d
	}
	if have := a.ttlDefs[key]; have != nil {
		return have
	}
	const most = 1000 // a program may make up a TTL for each check
	if len(a.ttlDefs) < most {
		a.ttlDefs[key] = &d
	}
	return &d
}
