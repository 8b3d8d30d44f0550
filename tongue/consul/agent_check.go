package consul

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/skerryhq/skerry"
)

func parseBool(s string) (bool, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, badRequest(fmt.Sprintf("Invalid value for enable: %q", s))
	}
	return v, nil
}

func (q *request) agentChecks() error {
	out := map[string]jsonCheck{}
	for _, c := range visible(q, q.t.b.Local.Checks(), func(c *skerry.Check) bool { return q.seesCheck(q.t.cfg.NodeName, c) }) {
		out[c.ID] = q.localCheck(c)
	}
	out, err := filteredMap(q, out)
	if err != nil {
		return err
	}
	return q.json(out)
}

// localCheck shows a check as the agent has it: without the catalog's indexes.
func (q *request) localCheck(c *skerry.Check) jsonCheck {
	out := checkJSON(q.t.cfg.NodeName, c)
	out.CreateIndex, out.ModifyIndex = 0, 0
	return out
}

func (q *request) agentCheckRegister() error {
	var body nodeCheckBody
	if err := q.decode(&body); err != nil {
		return err
	}
	d, err := body.definition(q.t.cfg.LegacyAPI)
	if err != nil {
		return err
	}
	if d.Name == "" {
		return badRequest("Missing check name")
	}
	if d.Status != "" && !d.Status.Valid() {
		return badRequest("Bad check status")
	}
	if err := q.mustOwnCheck(&skerry.Check{ID: d.ID, ServiceID: d.ServiceID}); err != nil {
		return err
	}
	if err := q.mustReplace(cmp.Or(d.ID, d.Name)); err != nil {
		return err
	}
	if err := q.t.b.Registrar.RegisterCheck(q.r.Context(), d); err != nil {
		return q.checkError(err)
	}
	q.empty()
	return nil
}

// mustOwnCheck asks for write access to what a check is of: a service, or the node.
func (q *request) mustOwnCheck(c *skerry.Check) error {
	if q.who == nil {
		return nil
	}
	if c.ServiceID == "" {
		return q.must(skerry.ResourceNode, q.t.cfg.NodeName, skerry.AccessWrite)
	}
	i, _, _ := q.t.b.Local.Instance(c.ServiceID)
	if i == nil {
		return nil // what is done with it fails by itself
	}
	if q.unseen(skerry.ResourceService, i.Service) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "check's service", ID: c.ServiceID}
	}
	return q.must(skerry.ResourceService, i.Service, skerry.AccessWrite)
}

// mustHeldCheck is mustOwnCheck for the check that has this ID now, if there is one.
func (q *request) mustHeldCheck(id string) error {
	c := q.heldCheck(id)
	if c == nil {
		return nil
	}
	if q.unseenCheck(c) {
		return &skerry.Error{Kind: skerry.NotFound, Subject: "check", ID: id}
	}
	return q.mustOwnCheck(c)
}

// mustReplace is mustHeldCheck for a write that makes a check of this ID.
func (q *request) mustReplace(id string) error {
	c := q.heldCheck(id)
	if c == nil {
		return nil
	}
	if q.unseenCheck(c) {
		return skerry.Errorf(skerry.Denied, "Permission denied")
	}
	return q.mustOwnCheck(c)
}

// heldCheck is the check that has this ID now, where access is controlled.
func (q *request) heldCheck(id string) *skerry.Check {
	if q.who == nil {
		return nil
	}
	for _, c := range q.t.b.Local.Checks() {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// unseenCheck reports whether the asker is not to know of one of this agent's checks.
func (q *request) unseenCheck(c *skerry.Check) bool {
	if c.ServiceID == "" {
		return q.unseen(skerry.ResourceNode, q.t.cfg.NodeName)
	}
	i, _, _ := q.t.b.Local.Instance(c.ServiceID)
	return i != nil && q.unseen(skerry.ResourceService, i.Service)
}

func (q *request) agentCheckDeregister() error {
	if err := q.mustHeldCheck(q.rest); err != nil {
		return err
	}
	if err := q.t.b.Registrar.DeregisterCheck(q.r.Context(), q.rest); err != nil {
		return err
	}
	q.empty()
	return nil
}

func (q *request) agentCheckPass() error { return q.updateTTL(skerry.Passing, q.note()) }
func (q *request) agentCheckWarn() error { return q.updateTTL(skerry.Warning, q.note()) }
func (q *request) agentCheckFail() error { return q.updateTTL(skerry.Critical, q.note()) }

// note avoids parsing the query of a plain beat.
func (q *request) note() string {
	if q.p.raw == "" {
		return ""
	}
	return q.p.get("note")
}

func (q *request) agentCheckUpdate() error {
	var body struct{ Status, Output string }
	if err := q.decode(&body); err != nil {
		return err
	}
	h := skerry.Health(body.Status)
	if !h.Valid() {
		return badRequest(fmt.Sprintf("Invalid check status: '%s'", body.Status))
	}
	return q.updateTTL(h, body.Output)
}

func (q *request) updateTTL(h skerry.Health, output string) error {
	if err := q.mustHeldCheck(q.rest); err != nil {
		return err
	}
	err := q.t.b.Registrar.UpdateTTL(q.r.Context(), q.rest, h, output)
	if err != nil {
		if skerry.KindOf(err) == skerry.Invalid {
			return serverError(err.Error())
		}
		return err
	}
	q.empty()
	return nil
}
