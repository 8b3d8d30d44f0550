package consul

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// Our own endpoints, in Consul's manner of speaking.

// skerrySet makes what came through the API exactly this: {"Services":[…]} with
// services as agent/service/register takes them.
func (q *request) skerrySet() error {
	var body struct{ Services []serviceBody }
	if err := q.decode(&body); err != nil {
		return err
	}
	rs, err := q.registrations(body.Services)
	if err != nil {
		return err
	}
	for _, r := range rs {
		if err := q.mustOwnRegistration(&r); err != nil {
			return err
		}
	}
	if err := q.mustDrop(rs); err != nil {
		return err
	}
	changed, err := q.t.b.Registrar.ReplaceSet(q.r.Context(), rs)
	if err != nil && skerry.KindOf(err) == skerry.Invalid {
		return badRequest("Invalid set: " + err.Error())
	}
	if err != nil {
		return err
	}
	return q.json(map[string]any{"Changed": changed})
}

func (q *request) registrations(bodies []serviceBody) ([]skerry.Registration, error) {
	rs := make([]skerry.Registration, len(bodies))
	for i := range bodies {
		var err error
		if rs[i], err = bodies[i].registration(q.t.cfg.LegacyAPI); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// ownerBody is the whole set of a program that has no agent.
type ownerBody struct {
	Node     string // default: the owner's id
	Address  string
	NodeMeta map[string]string
	Locality *jsonLocality
	TTL      duration
	Services []serviceBody
}

// skerryOwner takes PUT owner/ID, PUT owner/ID/beat and DELETE owner/ID.
func (q *request) skerryOwner() error {
	id, beat := strings.CutSuffix(q.rest, "/beat")
	if id == "" {
		return badRequest("Missing owner ID")
	}
	owner := skerry.OwnerID(id)
	if err := q.must(skerry.ResourceNode, id, skerry.AccessWrite); err != nil {
		return err
	}
	switch {
	case beat:
		return q.beatOwner(owner)
	case q.r.Method == "DELETE":
		if err := q.t.b.Leases.DeleteOwner(q.r.Context(), owner); err != nil {
			return err
		}
		return q.json(true)
	}
	var body ownerBody
	if err := q.decode(&body); err != nil {
		return err
	}
	set, err := q.ownerSet(id, &body)
	if err != nil {
		return err
	}
	if err := q.mustAnnounce(&set); err != nil {
		return err
	}
	digest, changed, err := q.t.b.Leases.PutOwner(q.r.Context(), owner, set, time.Duration(body.TTL))
	if err != nil {
		return err
	}
	return q.json(map[string]any{"Digest": hexDigest(digest), "Changed": changed})
}

func hexDigest(d uint64) string { return strconv.FormatUint(d, 16) }

func (q *request) ownerSet(id string, b *ownerBody) (skerry.Set, error) {
	if b.TTL <= 0 {
		return skerry.Set{}, badRequest("Missing TTL: give the longest silence after which the services are lost, for example \"15s\"")
	}
	if b.Address == "" {
		return skerry.Set{}, badRequest("Missing Address: give the address at which the services are reached")
	}
	if fault := metaFault(b.NodeMeta); fault != "" {
		return skerry.Set{}, badRequest("Invalid NodeMeta: " + fault)
	}
	set := skerry.Set{Node: &skerry.Node{Name: cmp.Or(b.Node, id), Datacenter: q.t.cfg.Datacenter, Address: b.Address, Meta: b.NodeMeta}}
	if b.Locality != nil {
		set.Node.Locality = &skerry.Locality{Region: b.Locality.Region, Zone: b.Locality.Zone}
	}
	rs, err := q.registrations(b.Services)
	if err != nil {
		return set, err
	}
	for _, r := range rs {
		if len(r.Checks) > 0 {
			return set, badRequest("Invalid service " + strconv.Quote(r.Instance.Service) + ": an owner without an agent has no checks; its lease is its check")
		}
		set.Instances = append(set.Instances, r.Instance)
	}
	return set, nil
}

func (q *request) beatOwner(id skerry.OwnerID) error {
	if q.r.Method != "PUT" {
		q.w.Header()["Allow"] = []string{"OPTIONS,PUT"}
		return &statusError{405, "method " + q.r.Method + " not allowed"}
	}
	text := q.p.get("digest")
	if text == "" {
		var body struct{ Digest string }
		if err := q.decode(&body); err != nil {
			return err
		}
		text = body.Digest
	}
	digest, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return badRequest("Invalid digest: send back what the answer to PUT owner/" + string(id) + " carried")
	}
	answer := "ok"
	if q.t.b.Leases.BeatOwner(id, digest) == skerry.Resend {
		answer = "send it all"
	}
	return q.json(map[string]string{"Answer": answer})
}

type jsonKept struct {
	Node    string
	ID      string
	Address string
	Port    int
	Health  skerry.Health
	Guarded bool   `json:",omitempty"`
	DNS     string `json:",omitempty"` // why DNS leaves it out all the same
}

type jsonDropped struct {
	Node   string
	ID     string
	Stage  string
	Reason string
	Check  *jsonReason `json:",omitempty"`
}

type jsonReason struct {
	CheckID string
	Status  skerry.Health
	Since   *time.Time `json:",omitempty"`
	Output  string
}

// skerryExplain tells what a query with the same parameters on health/service
// leaves out, and why.
func (q *request) skerryExplain() error {
	if q.rest == "" {
		return badRequest("Missing service name")
	}
	if q.p.passingErr != nil {
		return q.p.passingErr
	}
	pipeline, sieve, err := q.pipeline()
	if err != nil {
		return err
	}
	v := q.t.b.Catalog.Service(q.rest)
	refused := []jsonDropped{}
	switch {
	case q.hides() && !q.may(skerry.ResourceOperator, "", skerry.AccessRead):
		v = q.view(q.rest)
		if len(v.Entries) == 0 && !q.seesService(q.rest) {
			// The rule is the asker's own, and named whether the service is there or not.
			refused = append(refused, jsonDropped{Stage: "acl", Reason: q.who.Rule(skerry.ResourceService, q.rest)})
		}
	case q.who != nil:
		pipeline = append(skerry.Pipeline{q.allowed()}, pipeline...)
	}
	kept, dropped := pipeline.Explain(v.Entries)
	if err := sieve.failed(); err != nil {
		return err
	}
	out := struct {
		Service string
		Index   uint64
		Cause   skerry.Cause
		Kept    []jsonKept
		Dropped []jsonDropped
	}{q.rest, v.Index, v.Cause, []jsonKept{}, refused}
	if len(kept) == 0 {
		out.Cause = v.EmptyCause(pipeline)
	}
	for _, e := range kept {
		one := jsonKept{Node: e.Node.Name, ID: e.Instance.ID, Address: e.Address(), Port: e.Instance.Port, Health: e.Health, Guarded: e.Guarded}
		if err := e.DNSTrouble(); err != nil {
			one.DNS = err.Error()
		}
		out.Kept = append(out.Kept, one)
	}
	for _, d := range dropped {
		if d.Stage == "acl" && !q.may(skerry.ResourceOperator, "", skerry.AccessRead) {
			// Whose and how many these are is not for everybody; the rule is the asker's own.
			if hidden := (jsonDropped{Stage: d.Stage, Reason: d.Reason}); !slices.Contains(out.Dropped, hidden) {
				out.Dropped = append(out.Dropped, hidden)
			}
			continue
		}
		out.Dropped = append(out.Dropped, jsonDropped{d.Entry.Node.Name, d.Entry.Instance.ID, d.Stage, d.Reason, worstCheck(d)})
	}
	return q.json(out)
}

// worstCheck names the check behind a drop by health or maintenance.
func worstCheck(d skerry.Dropped) *jsonReason {
	if d.Stage != "health" && d.Stage != "maintenance" {
		return nil
	}
	for _, c := range d.Entry.Checks {
		if c.Status != d.Entry.Health || d.Stage == "maintenance" && !c.Maintenance() {
			continue
		}
		r := &jsonReason{CheckID: c.ID, Status: c.Status, Output: cmp.Or(c.Output, c.Notes)}
		if !c.Since.IsZero() {
			since := c.Since.UTC()
			r.Since = &since
		}
		return r
	}
	return nil
}

func (q *request) skerryGuard() error {
	return q.json(map[string]int{"Held": q.t.b.Guard.Held()})
}

func (q *request) skerryGuardRelease() error {
	released := q.t.b.Guard.Release()
	if released == nil {
		released = []skerry.OwnerID{}
	}
	return q.json(map[string]any{"Released": released})
}
