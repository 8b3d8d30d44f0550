package consul

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// Skerry's own endpoints, in Consul's style.

// skerrySet replaces the registrations that came through the API by {"Services":[…]}, with
// services as in agent/service/register.
func (q *request) skerrySet() error {
	var body struct{ Services []wire.ServiceBody }
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
	changed, err := q.f.b.Registrar.ReplaceSet(q.r.Context(), rs)
	if err != nil && skerry.KindOf(err) == skerry.Invalid {
		return badRequest("Invalid set: " + err.Error())
	}
	if err != nil {
		return err
	}
	return q.json(map[string]any{"Changed": changed})
}

func (q *request) registrations(bodies []wire.ServiceBody) ([]skerry.Registration, error) {
	rs := make([]skerry.Registration, len(bodies))
	for i := range bodies {
		var err error
		if rs[i], err = bodies[i].Registration(q.f.cfg.LegacyAPI); err != nil {
			return nil, err
		}
		rs[i].Token = q.p.token
	}
	return rs, nil
}

// ownerBody is the whole set of a program that has no agent.
type ownerBody struct {
	Node     string // default: the owner's id
	Address  string
	NodeMeta map[string]string
	Locality *wire.Locality
	TTL      wire.Duration
	Services []wire.ServiceBody
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
		return q.deleteOwner(owner)
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
	digest, changed, err := q.f.b.Leases.PutOwner(q.r.Context(), owner, set, time.Duration(body.TTL))
	if err != nil {
		return err
	}
	return q.json(map[string]any{"Digest": hexDigest(digest), "Changed": changed})
}

// deleteOwner withdraws an owner, at once or when no reader can have its instances any more.
func (q *request) deleteOwner(id skerry.OwnerID) error {
	within, drains, err := q.drain()
	if err != nil {
		return err
	}
	if !drains {
		if err := q.f.b.Leases.DeleteOwner(q.r.Context(), id); err != nil {
			return err
		}
		return q.json(true)
	}
	ctx := context.WithoutCancel(q.r.Context()) // the instances go, whether their client waits or not
	set, err := q.f.b.Leases.DrainOwner(ctx, id)
	if err != nil {
		return err
	}
	sum := skerry.Drained{Safe: true}
	until := time.Now().Add(within)
	for _, i := range set.Instances {
		sum.Add(q.f.b.Drains.Await(ctx, set.Node.Name, i, max(time.Until(until), time.Second)))
	}
	if err := q.f.b.Leases.DeleteOwner(ctx, id); err != nil && skerry.KindOf(err) != skerry.NotFound {
		return err
	}
	return q.json(sum)
}

func (q *request) ownerSet(id string, b *ownerBody) (skerry.Set, error) {
	if b.TTL <= 0 {
		return skerry.Set{}, badRequest("Missing TTL: give the longest silence after which the services are lost, for example \"15s\"")
	}
	if b.Address == "" {
		return skerry.Set{}, badRequest("Missing Address: give the address at which the services are reached")
	}
	if fault := wire.MetaFault(b.NodeMeta); fault != "" {
		return skerry.Set{}, badRequest("Invalid NodeMeta: " + fault)
	}
	set := skerry.Set{Node: &skerry.Node{Name: cmp.Or(b.Node, id), Datacenter: q.f.b.Self.Datacenter, Address: b.Address, Meta: b.NodeMeta}}
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
		return status(405, "method "+q.r.Method+" not allowed")
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
	if q.f.b.Leases.BeatOwner(id, digest) == skerry.Resend {
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
	DNS     string `json:",omitempty"` // why DNS leaves it out nevertheless
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

// skerryExplain lists the instances that a query with the same parameters on
// health/service leaves out, with the reasons.
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
	shown, v, err := q.shownView(q.rest)
	if err != nil {
		return err
	}
	refused := []jsonDropped{}
	switch {
	case q.hides() && !q.may(skerry.ResourceOperator, "", skerry.AccessRead):
		v = shown
		if len(v.Entries) == 0 && !q.seesService(q.rest) {
			// The rule is the caller's own, and named whether or not the service exists.
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
			// The number and the owners are not shown; the rule is the caller's own.
			if hidden := (jsonDropped{Stage: d.Stage, Reason: d.Reason}); !slices.Contains(out.Dropped, hidden) {
				out.Dropped = append(out.Dropped, hidden)
			}
			continue
		}
		out.Dropped = append(out.Dropped, jsonDropped{d.Entry.Node.Name, d.Entry.Instance.ID, d.Stage, d.Reason, worstCheck(d)})
	}
	return q.json(out)
}

// worstCheck returns the check that caused a drop by health or maintenance.
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

// statusReady answers 503 while this process has not the whole catalog.
func (q *request) statusReady() error {
	if q.f.b.Ready != nil {
		if err := q.f.b.Ready(); err != nil {
			return status(http.StatusServiceUnavailable, err.Error())
		}
	}
	type attached struct {
		Server string
		Since  time.Time
	}
	type datacenter struct {
		Name     string
		Reached  bool
		Distance string     `json:",omitempty"` // the median round trip; empty: none was measured
		Heard    *time.Time `json:",omitempty"` // when one of its servers answered last
	}
	out := struct {
		Ready       bool
		Attached    *attached    `json:",omitempty"`
		Datacenters []datacenter `json:",omitempty"` // the others, the nearest first
	}{Ready: true}
	if q.f.b.Attached != nil {
		a := q.f.b.Attached()
		out.Attached = &attached{a.Server, a.Since.UTC()}
	}
	if all := q.f.b.Datacenters; all != nil {
		for _, dc := range all.Datacenters() {
			one := datacenter{Name: dc.Name, Reached: dc.Reached}
			if dc.Distance > 0 {
				one.Distance = dc.Distance.Round(time.Microsecond).String()
			}
			if heard := dc.Heard.UTC(); !dc.Heard.IsZero() {
				one.Heard = &heard
			}
			out.Datacenters = append(out.Datacenters, one)
		}
	}
	return q.json(out)
}

// heldService is how much of a service the guard holds.
type heldService struct {
	Service   string
	Held      int
	Instances int // in all
}

// skerryGuard answers what the guard holds.
func (q *request) skerryGuard() error {
	out := struct {
		Held     int // owners
		Services []heldService
	}{q.f.b.Guard.Held(), []heldService{}}
	if out.Held == 0 {
		return q.json(out)
	}
	seen := map[string]bool{} // in another spelling
	for _, name := range q.f.b.Catalog.Services() {
		v := q.f.b.Catalog.Service(name)
		if v.Guarded == 0 || seen[skerry.Fold(name)] {
			continue
		}
		seen[skerry.Fold(name)] = true
		out.Services = append(out.Services, heldService{name, v.Guarded, len(v.Entries)})
	}
	return q.json(out)
}

// skerryPropagation describes how fast changes that are made at this process reach others.
func (q *request) skerryPropagation() error { return q.json(q.f.b.Propagation()) }

// skerryGuardRelease ends the guard's holds: all, or those of the owners of one service.
func (q *request) skerryGuardRelease() error {
	among := func(skerry.OwnerID) bool { return true }
	if q.p.has("service") {
		name := q.p.get("service")
		if name == "" {
			return badRequest("Missing service name")
		}
		owners := map[skerry.OwnerID]bool{}
		for _, e := range q.f.b.Catalog.Service(name).Entries {
			if e.Guarded {
				owners[e.Owner] = true
			}
		}
		among = func(id skerry.OwnerID) bool { return owners[id] }
	}
	released, err := q.f.b.Guard.Release(q.r.Context(), among)
	if err != nil {
		return status(http.StatusServiceUnavailable, err.Error())
	}
	if released == nil {
		released = []skerry.OwnerID{}
	}
	return q.json(map[string]any{"Released": released})
}
