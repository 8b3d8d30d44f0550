package agent

import (
	"fmt"
	"strings"

	"github.com/skerryhq/skerry"
)

// freeService returns an error if the ID is reserved.
func (a *Agent) freeService(id string) error {
	for _, own := range a.cfg.Own {
		if own.ID == id {
			return skerry.Errorf(skerry.Invalid, "id: %q stands for this agent itself and cannot be registered", id)
		}
	}
	return nil
}

// freeCheck returns an error if the check's ID is reserved. The IDs of maintenance mode
// are kept free also while it is off, or it could not be turned on.
func (a *Agent) freeCheck(id string) error {
	taken := id == skerry.NodeMaintenanceID || strings.HasPrefix(id, skerry.ServiceMaintenanceIDPrefix)
	for _, c := range a.cfg.NodeChecks {
		taken = taken || c.ID == id
	}
	if taken {
		return &skerry.Error{Kind: skerry.Invalid, Subject: "check", ID: id, Message: fmt.Sprintf("id: the check id %q is reserved", id)}
	}
	return nil
}

// program returns a service that a program or a file registered, or nil.
func (a *Agent) program(id string) *service {
	if s := a.services[id]; s != nil && s.source != sourceProcess {
		return s
	}
	return nil
}

func unknownService(id string) error {
	return &skerry.Error{Kind: skerry.NotFound, Subject: "service", ID: id, Message: fmt.Sprintf("no service with the id %q is registered here", id)}
}

func unknownCheck(id string) error {
	return &skerry.Error{Kind: skerry.NotFound, Subject: "check", ID: id, Message: fmt.Sprintf("no check with the id %q is registered here", id)}
}

func unknownServiceOf(d *skerry.CheckDefinition) error {
	return &skerry.Error{Kind: skerry.NotFound, Subject: "check's service", ID: d.ServiceID,
		Message: fmt.Sprintf("service_id: no service with the id %q is registered here", d.ServiceID)}
}
