package agent

import (
	"context"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/journal"
)

// edit gathers one change of the set: the announcement to the catalog, the records of the
// journal, and the checks that the runner starts and stops. Between begin and commit edit
// and mu are held.
type edit struct {
	a     *Agent
	delta skerry.Delta
	batch *journal.Batch
	start []*checkState
	again map[*checkState]bool // of start: a check of that ID may run already
	stop  []string
}

// begin takes the locks, or returns why nothing can be changed now.
func (a *Agent) begin() (*edit, error) {
	a.edit.Lock()
	if a.ledger == nil {
		a.edit.Unlock()
		return nil, skerry.Errorf(skerry.Unavailable, "the agent is starting")
	}
	a.mu.Lock()
	// Asked with mu held: a snapshot that mends the journal has to wait for this edit.
	if err := a.ledger.Broken(); err != nil {
		a.mu.Unlock()
		a.edit.Unlock()
		return nil, skerry.Errorf(skerry.Unavailable, "the registration cannot be written to disk now: %w", err)
	}
	return &edit{a: a, again: map[*checkState]bool{}}, nil
}

// abort gives up a change of which nothing was done yet.
func (e *edit) abort(err error) error {
	e.a.mu.Unlock()
	e.a.edit.Unlock()
	return err
}

func (e *edit) log(r record) {
	e.batch = e.a.ledger.Append(KeeperName, r)
	e.a.last = e.batch
}

// empty reports whether nothing was changed.
func (e *edit) empty() bool {
	return len(e.delta.Instances)+len(e.delta.Checks)+len(e.delta.RemovedInstances)+len(e.delta.RemovedChecks) == 0
}

// commit announces the change, updates the runner, and waits until it is on disk. The
// change is visible before it is durable: it is soft state, and a caller that gets an
// error, or gave up the wait, asks again.
func (e *edit) commit(ctx context.Context) error {
	a := e.a
	if !e.empty() {
		e.delta.Checks = latest(e.delta.Checks)
		a.announce(e.delta)
		a.wakeLocal()
	}
	last := a.last
	a.mu.Unlock()
	for _, id := range e.stop {
		a.runner.Stop(id)
	}
	for _, cs := range e.start {
		a.startCheck(cs, e.again[cs])
	}
	a.edit.Unlock()
	if e.batch != nil {
		return wait(ctx, e.batch)
	}
	// An existing registration may still be on its way to the disk. If its write failed,
	// the snapshot that mended the journal holds it.
	if err := wait(ctx, last); err != nil && a.ledger.Broken() != nil {
		return err
	}
	return nil
}

// latest keeps the last record of each check: one may be moved with its instance
// and then replaced.
func latest(cs []*skerry.Check) []*skerry.Check {
	if len(cs) < 2 {
		return cs
	}
	seen := make(map[string]bool, len(cs))
	kept := make([]*skerry.Check, 0, len(cs))
	for _, c := range slices.Backward(cs) {
		if !seen[c.ID] {
			seen[c.ID] = true
			kept = append(kept, c)
		}
	}
	return kept
}

func wait(ctx context.Context, b *journal.Batch) error {
	if b == nil {
		return nil
	}
	if err := b.Wait(ctx); err != nil {
		return skerry.Errorf(skerry.Unavailable, "the change could not be written to disk: %w", err)
	}
	return nil
}

// announce is called with mu held, so that deltas leave in order.
func (a *Agent) announce(d skerry.Delta) {
	base := a.version
	a.version.Seq++
	a.outbox.Changed(a.version, base, d, a.digest())
}

// putService replaces the instance of r and its checks with states; unnamed selects
// which of its other checks go. Equal ones are left alone.
func (e *edit) putService(r skerry.Registration, states []*checkState, from source, unnamed func(*checkState) bool) {
	a, i := e.a, r.Instance
	named := make(map[string]*checkState, len(states))
	for _, cs := range states {
		named[cs.check.ID] = cs
	}
	sv := a.services[i.ID]
	// Another token is announced like another instance: servers judge by it.
	same := sv != nil && sv.source == from && sv.token == r.Token && sameInstance(sv.instance, i)
	if !same {
		was := sv
		sv = &service{instance: i, source: from, token: r.Token}
		if was != nil {
			sv.checks = was.checks
		}
		a.services[i.ID] = sv
		a.tallyService(sv, was)
		if err := skerry.AddressTrouble(i.Address); err != nil && (was == nil || was.instance.Address != i.Address) {
			a.log.Warn("a service has an address that DNS cannot answer with", "service", i.ID, "error", err)
		}
		e.delta.Instances = append(e.delta.Instances, i)
	}
	for _, cs := range slices.Clone(sv.checks) {
		next := named[cs.check.ID]
		switch {
		case next != nil && !a.runs(next):
		case next == nil && cs.def != nil && unnamed(cs):
			e.removeCheck(cs)
		case cs.check.ServiceName != i.Service || !slices.Equal(cs.check.ServiceTags, i.Tags):
			moved := *cs.check
			moved.ServiceName, moved.ServiceTags = i.Service, i.Tags
			e.replaceCheck(cs, &moved)
		}
	}
	rec := record{Service: &serviceRecord{Instance: sv.instance, Source: from, Token: sv.token}}
	for _, cs := range states {
		if !a.runs(cs) {
			e.putState(cs)
			rec.Service.Checks = append(rec.Service.Checks, recordOf(cs))
		}
	}
	if !same || len(rec.Service.Checks) > 0 {
		e.log(rec)
	}
}

// renew gives checks that ran already and were registered again a full TTL, as
// new ones have.
func (e *edit) renew(states []*checkState) {
	for _, cs := range states {
		if have := e.a.checks[cs.check.ID]; have != cs && have != nil && have.isTTL() {
			e.a.deadlines.set(have.slot, time.Now().Add(have.def.TTL))
			e.start = append(e.start, have)
			e.again[have] = true
		}
	}
}

// putState puts a check in place; its record is the caller's to write.
func (e *edit) putState(cs *checkState) {
	a, id := e.a, cs.check.ID
	if old := a.checks[id]; old != nil {
		a.deadlines.free(old.slot)
		e.again[cs] = true
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
	e.a.tallyCheck(cs)
	e.delta.Checks = append(e.delta.Checks, c)
	e.log(record{Check: ptr(recordOf(cs))})
}

func (e *edit) removeService(id string) {
	a := e.a
	for _, cs := range slices.Clone(a.services[id].checks) {
		e.dropCheck(cs)
	}
	a.sum -= a.services[id].digest
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
