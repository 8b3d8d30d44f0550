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
func (a *Agent) RegisterService(_ context.Context, r skerry.Registration) error {
	prepared, err := a.prepare(r, a.cfg.Policy)
	if err != nil {
		return err
	}
	e, err := a.begin()
	if err != nil {
		return err
	}
	if s := a.services[r.Instance.ID]; s != nil && s.source == sourceProcess {
		return e.abort(skerry.Errorf(skerry.Invalid, "id: %q stands for this agent itself and cannot be registered", r.Instance.ID))
	}
	e.putService(r.Instance, a.states(r.Instance, prepared, sourceAPI, false), r.ReplaceChecks, sourceAPI)
	a.log.Debug("registered service", "service", r.Instance.ID, "checks", len(prepared))
	return e.commit()
}

// prepare checks a registration and gives its checks their default IDs and
// names. It touches nothing of the agent.
func (a *Agent) prepare(r skerry.Registration, policy check.Policy) ([]skerry.CheckDefinition, error) {
	i := r.Instance
	if i == nil || i.Service == "" {
		return nil, skerry.Errorf(skerry.Invalid, "service: a registration needs a service name")
	}
	if i.ID == "" {
		i.ID = i.Service
	}
	i.TagAddress = true
	if i.Weights == (skerry.Weights{}) {
		i.Weights = skerry.Weights{Passing: 1, Warning: 1}
	}
	defs := slices.Clone(r.Checks)
	ids := map[string]bool{}
	for n := range defs {
		d := &defs[n]
		if err := a.cfg.Kinds.Validate(d, policy); err != nil {
			return nil, err
		}
		d.ServiceID = i.ID
		if d.ID == "" {
			d.ID = "service:" + i.ID
			if len(defs) > 1 {
				d.ID += fmt.Sprintf(":%d", n+1)
			}
		}
		if d.Name == "" {
			d.Name = fmt.Sprintf("Service '%s' check", i.Service)
		}
		if ids[d.ID] {
			return nil, skerry.Errorf(skerry.Invalid, "checks: the id %q is there twice", d.ID)
		}
		ids[d.ID] = true
	}
	return defs, nil
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
	if old := a.checks[d.ID]; old != nil && old.check.ServiceID == c.ServiceID {
		c.Status, c.Output, c.Since = old.check.Status, old.check.Output, old.check.Since
	}
	return &checkState{check: c, def: a.intern(d), source: from}
}

// DeregisterService implements [skerry.Registrar].
func (a *Agent) DeregisterService(_ context.Context, id string) error {
	e, err := a.begin()
	if err != nil {
		return err
	}
	s := a.services[id]
	if s == nil || s.source == sourceProcess {
		return e.abort(&skerry.Error{Kind: skerry.NotFound, Subject: "service", ID: id, Message: fmt.Sprintf("no service with the id %q is registered here", id)})
	}
	e.removeService(id)
	a.log.Debug("withdrew service", "service", id)
	return e.commit()
}

// RegisterCheck implements [skerry.Registrar].
func (a *Agent) RegisterCheck(_ context.Context, d skerry.CheckDefinition) error {
	if d.ID == "" {
		d.ID = d.Name
	}
	if d.Name == "" {
		return skerry.Errorf(skerry.Invalid, "name: a check needs a name")
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
		s := a.services[d.ServiceID]
		if s == nil {
			return e.abort(&skerry.Error{Kind: skerry.NotFound, Subject: "check's service", ID: d.ServiceID,
				Message: fmt.Sprintf("service_id: no service with the id %q is registered here", d.ServiceID)})
		}
		i = s.instance
	}
	if old := a.checks[d.ID]; old != nil {
		if old.def == nil {
			return e.abort(skerry.Errorf(skerry.Invalid, "id: %q is reserved", d.ID))
		}
		if old.check.ServiceID != d.ServiceID {
			e.removeCheck(old)
		}
	}
	cs := a.state(i, d, sourceAPI, true)
	e.putState(cs)
	e.log(record{Check: ptr(recordOf(cs))})
	return e.commit()
}

// DeregisterCheck implements [skerry.Registrar].
func (a *Agent) DeregisterCheck(_ context.Context, id string) error {
	e, err := a.begin()
	if err != nil {
		return err
	}
	cs := a.checks[id]
	if cs == nil || cs.source == sourceProcess {
		return e.abort(unknownCheck(id))
	}
	e.removeCheck(cs)
	return e.commit()
}

func unknownCheck(id string) error {
	return &skerry.Error{Kind: skerry.NotFound, Subject: "check", ID: id, Message: fmt.Sprintf("no check with the id %q is registered here", id)}
}

// ReplaceSet implements [skerry.Registrar]: it replaces what came through the
// API and leaves what configuration files and the watched folder say.
func (a *Agent) ReplaceSet(_ context.Context, rs []skerry.Registration) (bool, error) {
	return a.replace(sourceAPI, rs, nil)
}

// Configure makes the registrations from configuration files exactly these.
// What did not change is not touched: its checks run on.
func (a *Agent) Configure(rs []skerry.Registration, checks []skerry.CheckDefinition) error {
	_, err := a.replace(sourceConfig, rs, checks)
	return err
}

// Drop makes the registrations from one dropped file exactly these.
func (a *Agent) Drop(file string, rs []skerry.Registration, checks []skerry.CheckDefinition) error {
	_, err := a.replace(source("file:"+file), rs, checks)
	return err
}

// Dropped returns the files with registrations.
func (a *Agent) Dropped() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	files := map[string]bool{}
	note := func(s source) {
		if len(s) > 5 && s[:5] == "file:" {
			files[string(s[5:])] = true
		}
	}
	for _, s := range a.services {
		note(s.source)
	}
	for _, cs := range a.checks {
		note(cs.source)
	}
	out := make([]string, 0, len(files))
	for f := range files {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

func (a *Agent) replace(from source, rs []skerry.Registration, checks []skerry.CheckDefinition) (bool, error) {
	policy := a.cfg.LocalPolicy
	if from == sourceAPI {
		policy = a.cfg.Policy
	}
	prepared := make([][]skerry.CheckDefinition, len(rs))
	keep := map[string]bool{}
	keepCheck := map[string]bool{}
	for n, r := range rs {
		var err error
		if prepared[n], err = a.prepare(r, policy); err != nil {
			return false, err
		}
		if keep[r.Instance.ID] {
			return false, skerry.Errorf(skerry.Invalid, "services: the id %q is there twice", r.Instance.ID)
		}
		keep[r.Instance.ID] = true
		for _, d := range prepared[n] {
			keepCheck[d.ID] = true
		}
	}
	for n := range checks {
		d := &checks[n]
		if d.ID == "" {
			d.ID = d.Name
		}
		if err := a.cfg.Kinds.Validate(d, policy); err != nil {
			return false, err
		}
		keepCheck[d.ID] = true
	}
	e, err := a.begin()
	if err != nil {
		return false, err
	}
	for id, s := range a.services {
		if s.source == from && !keep[id] {
			e.removeService(id)
		}
	}
	for id, cs := range a.checks {
		if cs.source == from && cs.def != nil && !keepCheck[id] {
			e.removeCheck(cs)
		}
	}
	for n, r := range rs {
		e.mergeService(r, prepared[n], from)
	}
	for _, d := range checks {
		var i *skerry.Instance
		if s := a.services[d.ServiceID]; s != nil {
			i = s.instance
		}
		if cs := a.state(i, d, from, true); !a.runs(cs) {
			e.putState(cs)
			e.log(record{Check: ptr(recordOf(cs))})
		}
	}
	changed := !e.empty()
	return changed, e.commit()
}

// mergeService puts a service in place unless it is there as it is.
func (e *edit) mergeService(r skerry.Registration, defs []skerry.CheckDefinition, from source) {
	a := e.a
	states := a.states(r.Instance, defs, from, false)
	if old := a.services[r.Instance.ID]; old != nil && old.source == from && sameInstance(old.instance, r.Instance) {
		same := true
		for _, cs := range states {
			same = same && a.runs(cs)
		}
		if same {
			return
		}
	}
	e.putService(r.Instance, states, true, from)
}
