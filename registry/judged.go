package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// Judge decides what agents may show in the catalog.
type Judge interface {
	// Index is another one when decisions may have changed.
	Index() uint64
	// MayWrite returns why the holder of a token may not write an object; nil: it may. An empty token is that of
	// anonymous callers.
	MayWrite(token string, r skerry.Resource, name string) error
}

const (
	// judgeEvery is the longest time between two judgements of an attachment: tokens expire.
	judgeEvery = 30 * time.Second
	// maxRefused bounds the services that are named to an agent.
	maxRefused = 1000
)

// judged is what an agent may show, by the tokens that it sends. Instances of services that it may not write are left
// out of its set, with their checks. The digest of the set is the agent's own, so that beats agree on it.
type judged struct {
	by   Judge
	node string
	// barred is why the agent may show nothing: it has to attach over this stream, with a token that may write its node.
	barred error
	grants cluster.Grants // without those of instances
	index  uint64         // of the verdicts
	at     time.Time
	known  map[string]instance // those announced, by ID; nil before the whole set came
	// again: verdicts differ from those that the set was taken with. The agent sends it under a new version then:
	// the catalog takes no other content for the same one.
	again bool
}

// instance is an instance with the verdict on it.
type instance struct {
	service, token string // the token may be empty: that of the grants
	why            error  // it is left out; nil: it is shown
}

var errNotAttached = skerry.Errorf(skerry.Denied, "the agent did not attach over this stream")

func newJudged(by Judge, node string) *judged {
	return &judged{by: by, node: node, barred: errNotAttached}
}

// attach takes the tokens of an attachment. It returns why the agent may not write its node.
func (j *judged) attach(grants *cluster.Grants, now time.Time) error {
	*j = judged{by: j.by, node: j.node, index: j.by.Index(), at: now}
	j.grant(grants)
	j.barred = j.by.MayWrite(j.grants.Node, skerry.ResourceNode, j.node)
	return j.barred
}

func (j *judged) grant(grants *cluster.Grants) {
	if grants != nil {
		j.grants = cluster.Grants{Node: grants.Node, Default: grants.Default}
	}
}

// verdict returns an instance of a service with the verdict on it.
func (j *judged) verdict(service, token string) instance {
	return instance{service, token, j.by.MayWrite(cmp.Or(token, j.grants.Default), skerry.ResourceService, service)}
}

// whole returns a whole set without what the agent may not show. It does not change the set.
func (j *judged) whole(set *skerry.Set, grants *cluster.Grants) *skerry.Set {
	j.grant(grants)
	j.index, j.known, j.again = j.by.Index(), map[string]instance{}, false
	return &skerry.Set{Node: set.Node, Instances: j.instances(set.Instances, grants), Checks: j.checks(set.Checks)}
}

// instances returns those that may be shown, and notes all.
func (j *judged) instances(all []*skerry.Instance, grants *cluster.Grants) (out []*skerry.Instance) {
	for _, i := range all {
		one := j.verdict(i.Service, tokenOf(i, grants))
		if j.known[i.ID] = one; one.why == nil {
			out = append(out, i)
		}
	}
	return out
}

func tokenOf(i *skerry.Instance, grants *cluster.Grants) string {
	if grants == nil {
		return ""
	}
	return grants.Instances[i.ID]
}

// checks returns the checks of the node, and those of instances that are shown.
func (j *judged) checks(all []*skerry.Check) (out []*skerry.Check) {
	for _, c := range all {
		of, known := j.known[c.ServiceID]
		if c.ServiceID == "" && c.ServiceName == "" || known && of.why == nil && of.service == c.ServiceName {
			out = append(out, c)
		}
	}
	return out
}

// delta returns a delta without what the agent may not show. ok is false if the whole set is wanted: an instance comes
// into view whose checks were left out before, or one goes out of view without its agent's word.
func (j *judged) delta(d *skerry.Delta, grants *cluster.Grants) (out *skerry.Delta, ok bool) {
	if j.known == nil {
		return nil, false
	}
	for _, i := range d.Instances {
		was, known := j.known[i.ID]
		if known && (was.why == nil) != (j.verdict(i.Service, tokenOf(i, grants)).why == nil) {
			return nil, false
		}
	}
	for _, id := range d.RemovedInstances {
		delete(j.known, id)
	}
	return &skerry.Delta{
		Node: d.Node, Instances: j.instances(d.Instances, grants), Checks: j.checks(d.Checks),
		RemovedInstances: d.RemovedInstances, RemovedChecks: d.RemovedChecks,
	}, true
}

// anew judges again what changes at the servers may have changed. It returns why the agent may not write its node.
func (j *judged) anew(now time.Time) error {
	index := j.by.Index()
	if j.barred != nil || index == j.index && now.Sub(j.at) < judgeEvery {
		return j.barred
	}
	j.index, j.at = index, now
	if j.barred = j.by.MayWrite(j.grants.Node, skerry.ResourceNode, j.node); j.barred != nil {
		return j.barred
	}
	for _, was := range j.known {
		why := j.verdict(was.service, was.token).why
		if why != nil && skerry.KindOf(why) != skerry.Denied {
			continue // a damaged record: it takes nothing out
		}
		if (was.why == nil) != (why == nil) {
			j.again = true
			break
		}
	}
	return nil
}

// refused names the services of which instances are left out.
func (j *judged) refused() (out []cluster.Refusal) {
	why := map[string]error{}
	for _, one := range j.known {
		if one.why != nil {
			why[one.service] = one.why
		}
	}
	for _, service := range slices.Sorted(maps.Keys(why)) {
		if len(out) < maxRefused {
			out = append(out, cluster.Refusal{Service: service, Why: why[service].Error()})
		}
	}
	return out
}
