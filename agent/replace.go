package agent

import (
	"context"
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

// ReplaceSet implements [skerry.Registrar]: it replaces the registrations of the API and
// leaves those of configuration files and the watched folder.
func (a *Agent) ReplaceSet(ctx context.Context, rs []skerry.Registration) (bool, error) {
	return a.replace(ctx, sourceAPI, rs, nil)
}

// Configure makes the registrations from configuration files exactly these. Unchanged
// ones are not touched: their checks run on.
func (a *Agent) Configure(ctx context.Context, rs []skerry.Registration, checks []skerry.CheckDefinition) error {
	_, err := a.replace(ctx, sourceConfig, rs, checks)
	return err
}

// Drop makes the registrations from one dropped file exactly these.
func (a *Agent) Drop(ctx context.Context, file string, rs []skerry.Registration, checks []skerry.CheckDefinition) error {
	_, err := a.replace(ctx, source(filePrefix+file), rs, checks)
	return err
}

// Dropped returns the files with registrations.
func (a *Agent) Dropped() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	files := map[string]bool{}
	note := func(s source) {
		if file, ok := strings.CutPrefix(string(s), filePrefix); ok {
			files[file] = true
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

// wanted is the wanted set of a source.
type wanted struct {
	services []skerry.Registration
	checks   []skerry.CheckDefinition // beside the services
	ids      map[string]bool          // of the services
	checkIDs map[string]bool
}

// want checks the registrations of a source. It does not change the agent.
func (a *Agent) want(from source, rs []skerry.Registration, checks []skerry.CheckDefinition) (*wanted, error) {
	policy := a.cfg.LocalPolicy
	if from == sourceAPI {
		policy = a.cfg.Policy
	}
	w := &wanted{checks: slices.Clone(checks), ids: map[string]bool{}, checkIDs: map[string]bool{}}
	name := func(id string) error {
		if w.checkIDs[id] {
			return skerry.Errorf(skerry.Invalid, "checks: the id %q is there twice", id)
		}
		w.checkIDs[id] = true
		return nil
	}
	for _, r := range rs {
		r, err := a.prepare(r, policy)
		if err != nil {
			return nil, err
		}
		if w.ids[r.Instance.ID] {
			return nil, skerry.Errorf(skerry.Invalid, "services: the id %q is there twice", r.Instance.ID)
		}
		w.ids[r.Instance.ID] = true
		w.services = append(w.services, r)
		for _, d := range r.Checks {
			if err := name(d.ID); err != nil {
				return nil, err
			}
		}
	}
	for n := range w.checks {
		d := &w.checks[n]
		if d.ID == "" {
			d.ID = d.Name
		}
		if d.ID == "" {
			return nil, skerry.Errorf(skerry.Invalid, "checks: a check needs a name")
		}
		if err := d.Bounds(); err != nil {
			return nil, err
		}
		if err := a.freeCheck(d.ID); err != nil {
			return nil, err
		}
		if err := a.cfg.Kinds.Validate(d, policy); err != nil {
			return nil, err
		}
		if err := name(d.ID); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// replace makes the registrations of a source exactly the wanted ones.
func (a *Agent) replace(ctx context.Context, from source, rs []skerry.Registration, checks []skerry.CheckDefinition) (bool, error) {
	w, err := a.want(from, rs, checks)
	if err != nil {
		return false, err
	}
	e, err := a.begin()
	if err != nil {
		return false, err
	}
	for n := range w.checks {
		if id := w.checks[n].ServiceID; id != "" && !w.ids[id] && (a.program(id) == nil || a.services[id].source == from) {
			return false, e.abort(unknownServiceOf(&w.checks[n]))
		}
	}
	e.withdraw(from, w)
	for _, r := range w.services {
		e.putService(r, a.states(r.Instance, r.Checks, from, false), from, func(cs *checkState) bool {
			return cs.source == from && !w.checkIDs[cs.check.ID]
		})
	}
	for _, d := range w.checks {
		var i *skerry.Instance
		if d.ServiceID != "" {
			i = a.services[d.ServiceID].instance
		}
		if cs := a.state(i, d, from, true); !a.runs(cs) {
			e.putCheck(cs)
		}
	}
	changed := !e.empty()
	return changed, e.commit(ctx)
}

// withdraw removes the registrations of a source that are not wanted any more.
func (e *edit) withdraw(from source, w *wanted) {
	a := e.a
	for id, s := range a.services {
		if s.source == from && !w.ids[id] {
			e.removeService(id)
		}
	}
	for id, cs := range a.checks {
		if cs.source != from || cs.def == nil || w.checkIDs[id] {
			continue
		}
		// A whole set through the API is about instances: checks of the node, and of
		// instances that files registered, were registered one by one.
		if h := a.holder(cs.check.ServiceID); from == sourceAPI && (h == nil || h.source != sourceAPI || h.instance == nil) {
			continue
		}
		e.removeCheck(cs)
	}
}
