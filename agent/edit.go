package agent

import (
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/journal"
)

// edit gathers one change of the set: what the catalog is told, what the journal
// keeps, and which checks the runner starts and stops. Between begin and commit
// edit and mu are held.
type edit struct {
	a     *Agent
	delta skerry.Delta
	batch *journal.Batch
	start []*checkState
	stop  []string
}

// begin takes the locks, or says why nothing can be changed now.
func (a *Agent) begin() (*edit, error) {
	a.edit.Lock()
	if a.ledger == nil {
		a.edit.Unlock()
		return nil, skerry.Errorf(skerry.Unavailable, "the agent is starting")
	}
	if err := a.ledger.Broken(); err != nil {
		a.edit.Unlock()
		return nil, skerry.Errorf(skerry.Unavailable, "the registration cannot be written to disk now: %w", err)
	}
	a.mu.Lock()
	return &edit{a: a}, nil
}

// abort gives up a change of which nothing was done yet.
func (e *edit) abort(err error) error {
	e.a.mu.Unlock()
	e.a.edit.Unlock()
	return err
}

func (e *edit) log(r record) { e.batch = e.a.ledger.Append(KeeperName, r) }

// empty reports whether nothing was changed.
func (e *edit) empty() bool {
	return len(e.delta.Instances)+len(e.delta.Checks)+len(e.delta.RemovedInstances)+len(e.delta.RemovedChecks) == 0
}

// commit announces the change, tells the runner, and waits until it is on disk.
// The change is visible before it is durable: it is soft state, and who is told
// of a failure asks again.
func (e *edit) commit() error {
	a := e.a
	if !e.empty() {
		a.announce(e.delta)
		a.wakeLocal()
	}
	a.mu.Unlock()
	for _, id := range e.stop {
		a.runner.Stop(id)
	}
	for _, cs := range e.start {
		a.startCheck(cs)
	}
	a.edit.Unlock()
	return wait(e.batch)
}

func wait(b *journal.Batch) error {
	if b == nil {
		return nil
	}
	if err := b.Wait(); err != nil {
		return skerry.Errorf(skerry.Unavailable, "the change could not be written to disk: %w", err)
	}
	return nil
}

// announce is called with mu held, so that deltas leave in order.
func (a *Agent) announce(d skerry.Delta) {
	base := a.version
	a.version.Seq++
	ann := skerry.Announcement{
		Owner: a.cfg.Owner, Kind: skerry.AgentOwner, Version: a.version, Base: base, Delta: &d,
	}
	outcome, err := a.catalog.Announce(ann)
	if err == nil && outcome == skerry.Resend {
		ann.Delta, ann.Set = nil, a.set()
		outcome, err = a.catalog.Announce(ann)
	}
	if err != nil || outcome == skerry.Stale {
		a.log.Error("the catalog refused a change of this node's set", "version", a.version, "outcome", outcome, "error", err)
	}
}

// putService makes the instance what r says and its checks what states says.
func (e *edit) putService(i *skerry.Instance, states []*checkState, replace bool, from source) {
	a := e.a
	named := make(map[string]bool, len(states))
	for _, cs := range states {
		named[cs.check.ID] = true
	}
	sv := &service{instance: i, source: from}
	if old := a.services[i.ID]; old != nil {
		sv.checks = old.checks
	}
	a.services[i.ID] = sv
	for _, cs := range slices.Clone(sv.checks) {
		switch {
		case named[cs.check.ID]:
		case replace && cs.def != nil:
			e.removeCheck(cs)
		case cs.check.ServiceName != i.Service || !slices.Equal(cs.check.ServiceTags, i.Tags):
			moved := *cs.check
			moved.ServiceName, moved.ServiceTags = i.Service, i.Tags
			e.replaceCheck(cs, &moved)
		}
	}
	e.delta.Instances = append(e.delta.Instances, i)
	r := record{Service: &serviceRecord{Instance: i, Source: from}}
	for _, cs := range states {
		e.putState(cs)
		r.Service.Checks = append(r.Service.Checks, recordOf(cs))
	}
	e.log(r)
}

// putState puts a check in place; its record is the caller's to write.
func (e *edit) putState(cs *checkState) {
	a, id := e.a, cs.check.ID
	if old := a.checks[id]; old != nil {
		a.deadlines.free(old.slot)
		if old.def != nil && cs.def == nil {
			e.stop = append(e.stop, id)
		}
	}
	cs.slot = noSlot
	if cs.isTTL() {
		cs.slot = a.deadlines.alloc(time.Now().Add(cs.def.TTL))
	}
	a.place(cs)
	a.noteReap(cs)
	e.delta.Checks = append(e.delta.Checks, cs.check)
	if cs.def != nil {
		e.start = append(e.start, cs)
	}
}

// replaceCheck shows a check anew without restarting it.
func (e *edit) replaceCheck(cs *checkState, c *skerry.Check) {
	cs.check = c
	e.delta.Checks = append(e.delta.Checks, c)
	e.log(record{Check: ptr(recordOf(cs))})
}

func (e *edit) removeService(id string) {
	a := e.a
	for _, cs := range slices.Clone(a.services[id].checks) {
		e.dropCheck(cs)
	}
	delete(a.services, id)
	e.delta.RemovedInstances = append(e.delta.RemovedInstances, id)
	e.log(record{GoneService: id})
}

func (e *edit) removeCheck(cs *checkState) {
	e.dropCheck(cs)
	e.log(record{GoneCheck: cs.check.ID})
}

func (e *edit) dropCheck(cs *checkState) {
	a := e.a
	a.deadlines.free(cs.slot)
	a.unplace(cs)
	delete(a.reapable, cs.check.ID)
	e.delta.RemovedChecks = append(e.delta.RemovedChecks, cs.check.ID)
	if cs.def != nil {
		e.stop = append(e.stop, cs.check.ID)
	}
}

func ptr[T any](v T) *T { return &v }
