package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// RegisterService implements [skerry.Registrar].
func (a *Agent) RegisterService(ctx context.Context, r skerry.Registration) error {
	r, err := a.prepare(r, a.cfg.Policy)
	if err != nil {
		return err
	}
	e, err := a.begin()
	if err != nil {
		return err
	}
	if _, known := a.services[r.Instance.ID]; !known {
		if err := a.room(1 + len(r.Checks)); err != nil {
			return e.abort(err)
		}
	}
	states := a.states(r.Instance, r.Checks, sourceAPI, false)
	e.putService(r, states, sourceAPI, func(*checkState) bool { return r.ReplaceChecks })
	e.renew(states)
	a.log.Debug("registered service", "service", r.Instance.ID, "checks", len(r.Checks))
	return e.commit(ctx)
}

// room returns an error if there is none for so many more records. Called with mu held.
func (a *Agent) room(more int) error {
	if n := len(a.services) + len(a.checks) + more; a.cfg.MaxRecords > 0 && n > a.cfg.MaxRecords {
		return skerry.Errorf(skerry.Exhausted, "this agent would have %d services and checks; at most %d are allowed: register at another agent, or as an owner with a TTL (/v1/skerry/owner)", n, a.cfg.MaxRecords)
	}
	return nil
}

// prepare checks a registration, and returns it with the defaults of its instance, and of
// its checks' IDs and names. It changes neither the agent nor its arguments.
func (a *Agent) prepare(r skerry.Registration, policy check.Policy) (skerry.Registration, error) {
	if r.Instance == nil || r.Instance.Service == "" {
		return r, skerry.Errorf(skerry.Invalid, "service: a registration needs a service name")
	}
	own := *r.Instance
	i := &own
	r.Instance = i
	if i.ID == "" {
		i.ID = i.Service
	}
	i.TagAddress = true
	if !a.cfg.KeepTokens {
		r.Token = ""
	}
	if i.Weights == (skerry.Weights{}) {
		i.Weights = skerry.Weights{Passing: 1, Warning: 1}
	}
	if err := a.freeService(i.ID); err != nil {
		return r, err
	}
	if err := i.Bounds(); err != nil {
		return r, err
	}
	defs := slices.Clone(r.Checks)
	ids := map[string]bool{}
	for n := range defs {
		d := &defs[n]
		if err := d.Bounds(); err != nil {
			return r, err
		}
		if err := a.cfg.Kinds.Validate(d, policy); err != nil {
			return r, err
		}
		d.ServiceID = i.ID
		d.ID = r.CheckID(n)
		if d.Name == "" {
			d.Name = fmt.Sprintf("Service '%s' check", i.Service)
		}
		if ids[d.ID] {
			return r, skerry.Errorf(skerry.Invalid, "checks: the id %q is there twice", d.ID)
		}
		if err := a.freeCheck(d.ID); err != nil {
			return r, err
		}
		ids[d.ID] = true
	}
	r.Checks = defs
	return r, nil
}

// states makes the checks of an instance as they begin: as they are when they
// are known already, else in their initial state. Called with mu held.
func (a *Agent) states(i *skerry.Instance, defs []skerry.CheckDefinition, from source, display bool) []*checkState {
	out := make([]*checkState, 0, len(defs))
	for _, d := range defs {
		out = append(out, a.state(i, d, from, display))
	}
	return out
}

func (a *Agent) state(i *skerry.Instance, d skerry.CheckDefinition, from source, display bool) *checkState {
	kind, _ := a.cfg.Kinds.KindOf(&d)
	c := &skerry.Check{
		ID: d.ID, Name: d.Name, Notes: d.Notes, Type: kind, Status: d.Status, Since: time.Now(),
	}
	if !c.Status.Valid() {
		c.Status = skerry.Critical
	}
	if i != nil {
		c.ServiceID, c.ServiceName, c.ServiceTags = i.ID, i.Service, i.Tags
	}
	if display {
		c.Interval, c.Timeout = d.Interval.String(), d.Timeout.String()
	}
	// The state is kept, also by another kind of probe, which runs at once. A TTL check
	// in a probe's place begins anew: it has had no beat yet.
	if old := a.checks[d.ID]; old != nil && old.check.ServiceID == c.ServiceID && (kind == old.check.Type || kind != "ttl") {
		c.Status, c.Output, c.Since = old.check.Status, old.check.Output, old.check.Since
	}
	return &checkState{check: c, def: a.intern(&d), source: from}
}

// DeregisterService implements [skerry.Registrar].
func (a *Agent) DeregisterService(ctx context.Context, id string) error {
	e, err := a.begin()
	if err != nil {
		return err
	}
	if a.program(id) == nil {
		return e.abort(unknownService(id))
	}
	e.removeService(id)
	a.log.Debug("withdrew service", "service", id)
	return e.commit(ctx)
}

// RegisterCheck implements [skerry.Registrar].
func (a *Agent) RegisterCheck(ctx context.Context, d skerry.CheckDefinition) error {
	if d.ID == "" {
		d.ID = d.Name
	}
	if d.Name == "" {
		return skerry.Errorf(skerry.Invalid, "name: a check needs a name")
	}
	if err := d.Bounds(); err != nil {
		return err
	}
	if err := a.freeCheck(d.ID); err != nil {
		return err
	}
	if err := a.cfg.Kinds.Validate(&d, a.cfg.Policy); err != nil {
		return err
	}
	e, err := a.begin()
	if err != nil {
		return err
	}
	var i *skerry.Instance
	if d.ServiceID != "" {
		s := a.program(d.ServiceID)
		if s == nil {
			return e.abort(unknownServiceOf(&d))
		}
		i = s.instance
	}
	e.putCheck(a.state(i, d, sourceAPI, true))
	return e.commit(ctx)
}

// putCheck puts a check of its own in place.
func (e *edit) putCheck(cs *checkState) {
	if e.a.runs(cs) {
		e.renew([]*checkState{cs})
		return
	}
	if old := e.a.checks[cs.check.ID]; old != nil && old.check.ServiceID != cs.check.ServiceID {
		e.removeCheck(old)
	}
	e.putState(cs)
	e.log(record{Check: ptr(recordOf(cs))})
}

// DeregisterCheck implements [skerry.Registrar].
func (a *Agent) DeregisterCheck(ctx context.Context, id string) error {
	e, err := a.begin()
	if err != nil {
		return err
	}
	cs := a.checks[id]
	if cs == nil || cs.source == sourceProcess {
		return e.abort(unknownCheck(id))
	}
	e.removeCheck(cs)
	return e.commit(ctx)
}
