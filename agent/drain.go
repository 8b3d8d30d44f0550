package agent

import (
	"context"

	"github.com/skerryhq/skerry"
)

// DrainService implements [skerry.Registrar]. The instance is gone after a restart: its program asked to go.
func (a *Agent) DrainService(ctx context.Context, id string) (*skerry.Instance, error) {
	e, err := a.begin()
	if err != nil {
		return nil, err
	}
	sv := a.program(id)
	if sv == nil {
		return nil, e.abort(unknownService(id))
	}
	if !sv.instance.Draining {
		was, now := *sv, *sv.instance
		now.Draining = true
		sv.instance = &now
		a.tallyService(sv, &was)
		e.delta.Instances = append(e.delta.Instances, sv.instance)
		e.log(record{Service: &serviceRecord{Instance: sv.instance, Source: sv.source, Token: sv.token}})
	}
	i := sv.instance
	return i, e.commit(ctx)
}

// dropDraining removes the instances whose drain the end of the last run cut short. It must be called with mu held.
func (a *Agent) dropDraining() {
	for id, sv := range a.services {
		if !sv.instance.Draining {
			continue
		}
		for _, cs := range sv.checks {
			delete(a.checks, cs.check.ID)
		}
		delete(a.services, id)
		a.ledger.Append(KeeperName, record{GoneService: id})
	}
}
