package agent

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
)

// The names and default reasons are Consul's: its tools look for them.
const (
	nodeMaintenanceName    = "Node Maintenance Mode"
	serviceMaintenanceName = "Service Maintenance Mode"
	nodeDefaultReason      = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
	serviceDefaultReason   = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)

// SetMaintenance implements [skerry.Registrar].
func (a *Agent) SetMaintenance(ctx context.Context, serviceID string, on bool, reason string) error {
	e, err := a.begin()
	if err != nil {
		return err
	}
	c := &skerry.Check{
		ID: skerry.NodeMaintenanceID, Name: nodeMaintenanceName, Notes: reason,
		Status: skerry.Critical, Type: skerry.TypeMaintenance, Since: time.Now(),
	}
	if reason == "" {
		c.Notes = nodeDefaultReason
	}
	if serviceID != "" {
		s := a.program(serviceID)
		if s == nil {
			return e.abort(unknownService(serviceID))
		}
		c.ID, c.Name = skerry.ServiceMaintenanceIDPrefix+serviceID, serviceMaintenanceName
		c.ServiceID, c.ServiceName, c.ServiceTags = serviceID, s.instance.Service, s.instance.Tags
		if reason == "" {
			c.Notes = serviceDefaultReason
		}
	}
	old := a.checks[c.ID]
	switch {
	case on && old == nil:
		cs := &checkState{check: c}
		e.putState(cs)
		e.log(record{Check: ptr(recordOf(cs))})
	case !on && old != nil:
		e.removeCheck(old)
	}
	return e.commit(ctx)
}
