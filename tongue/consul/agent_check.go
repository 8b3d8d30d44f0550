package consul

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

func parseBool(s string) (bool, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, badRequest(fmt.Sprintf("Invalid value for enable: %q", s))
	}
	return v, nil
}

func (q *request) agentChecks() error {
	out := map[string]wire.Check{}
	for _, c := range visible(q, q.f.b.Local.Checks(), func(c *skerry.Check) bool { return q.seesCheck(q.f.b.Self.Name, c) }) {
		out[c.ID] = q.localCheck(c)
	}
	out, err := filteredMap(q, out)
	if err != nil {
		return err
	}
	return q.json(out)
}

// localCheck returns the shape of the agent's check, without the catalog's indexes.
func (q *request) localCheck(c *skerry.Check) wire.Check {
	out := wire.CheckOf(q.f.b.Self.Name, c)
	out.CreateIndex, out.ModifyIndex = 0, 0
	return out
}

func (q *request) agentCheckRegister() error {
	var body wire.NodeCheckBody
	if err := q.decode(&body); err != nil {
		return err
	}
	d, err := body.Definition(q.f.cfg.LegacyAPI)
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
	if err := q.f.b.Registrar.RegisterCheck(q.r.Context(), d); err != nil {
		return q.checkError(err)
	}
	q.noteAnnounced()
	q.empty()
	return nil
}

func (q *request) agentCheckDeregister() error {
	if err := q.mustHeldCheck(q.rest); err != nil {
		return err
	}
	if err := q.f.b.Registrar.DeregisterCheck(q.r.Context(), q.rest); err != nil {
		return err
	}
	q.noteAnnounced()
	q.empty()
	return nil
}

func (q *request) agentCheckPass() error { return q.updateTTL(skerry.Passing, q.note()) }
func (q *request) agentCheckWarn() error { return q.updateTTL(skerry.Warning, q.note()) }
func (q *request) agentCheckFail() error { return q.updateTTL(skerry.Critical, q.note()) }

// note returns the query's note. It does not parse the query of a plain beat.
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
	err := q.f.b.Registrar.UpdateTTL(q.r.Context(), q.rest, h, output)
	if err != nil {
		if skerry.KindOf(err) == skerry.Invalid {
			return serverError(err.Error())
		}
		return err
	}
	q.empty()
	return nil
}
