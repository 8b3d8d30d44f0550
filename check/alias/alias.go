// Package alias is the check that shows the health of another instance or node.
package alias

import (
	"context"
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
)

// Lookup returns the checks of a node, those of its instances among them, in
// order. An empty node is this one. changed is closed when the answer may have
// changed, also where ok is false: the node, or an instance with this ID on it, is
// not known. An empty service asks for the node alone.
type Lookup func(node, service string) (checks []*skerry.Check, changed <-chan struct{}, ok bool)

// Kind returns the row of the table.
func Kind(lookup Lookup) check.Kind {
	return check.Kind{
		Name:    "alias",
		Matches: func(d *skerry.CheckDefinition) bool { return d.AliasNode != "" || d.AliasService != "" },
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			if lookup == nil {
				return nil, skerry.Errorf(skerry.Unsupported, "alias checks are not offered here")
			}
			return &prober{node: d.AliasNode, service: d.AliasService, lookup: lookup, outputMax: d.OutputMaxSize}, nil
		},
	}
}

type prober struct {
	node, service string
	lookup        Lookup
	outputMax     int
}

var _ check.Watcher = (*prober)(nil)

// Check implements [check.Prober].
func (p *prober) Check(context.Context) check.Result {
	r, _ := p.Watch()
	return r
}

// Watch implements [check.Watcher].
func (p *prober) Watch() (check.Result, <-chan struct{}) {
	checks, changed, ok := p.lookup(p.node, p.service)
	r := check.Result{Status: skerry.Critical, Output: p.missing()}
	if ok {
		r = worst(checks, p.service)
	}
	r.Output = check.Truncate(r.Output, p.outputMax)
	return r, changed
}

func (p *prober) missing() string {
	switch {
	case p.service == "":
		return fmt.Sprintf("Node %s could not be found", p.node)
	case p.node == "":
		return fmt.Sprintf("Service %s could not be found", p.service)
	}
	return fmt.Sprintf("Service %s could not be found on node %s", p.service, p.node)
}

// worst returns the worst of the checks of the service and of the node. As in
// Consul the node's checks count for its instances, and an alias that stands on
// the node is one of them: also for itself.
func worst(checks []*skerry.Check, service string) check.Result {
	var found *skerry.Check
	any := false
	for _, c := range checks {
		if c.ServiceID != "" && c.ServiceID != service {
			continue
		}
		any = true
		if c.Status != skerry.Passing && (found == nil || found.Status.Worse(c.Status) != found.Status) {
			found = c
		}
	}
	switch {
	case found != nil && found.Status == skerry.Critical:
		return check.Result{Status: skerry.Critical, Output: fmt.Sprintf("Aliased check %q failing: %s", found.Name, found.Output)}
	case found != nil:
		return check.Result{Status: skerry.Warning, Output: fmt.Sprintf("Aliased check %q warning: %s", found.Name, found.Output)}
	case any:
		return check.Result{Status: skerry.Passing, Output: "All checks passing."}
	}
	return check.Result{Status: skerry.Passing, Output: "No checks found."}
}
