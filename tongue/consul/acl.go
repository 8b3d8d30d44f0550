package consul

import (
	"errors"
	"io"
	"net/http"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// acl makes an endpoint fail without access control.
func acl(do func(*request) error) func(*request) error {
	return func(q *request) error {
		if q.f.b.Gate == nil {
			return bare(status(401, "ACL support disabled"))
		}
		return do(q)
	}
}

// aclReady waits until a blocking answer is due.
func (q *request) aclReady(kind string) error {
	if err := q.p.query(); err != nil {
		return err
	}
	if err := q.synced(); err != nil {
		return err
	}
	store := q.f.b.ACL
	if err := q.beyond(func() (uint64, <-chan struct{}) { return store.WatchACL(kind) }); err != nil {
		return err
	}
	return store.Sound(kind, q.rest)
}

// aclNone returns none, the error that there is no such object, or the damage of records
// if one of them may be the object.
func (q *request) aclNone(kind string, none error) error {
	if err := q.f.b.ACL.Sound(kind, ""); err != nil {
		return err
	}
	return bare(none)
}

func (q *request) aclMeta(kind string) {
	q.meta(q.f.b.ACL.ChangedACL(kind))
}

// aclBody reads a body into v; the parameter what names it in the error.
func (q *request) aclBody(v any, what string) error {
	err := q.readJSON(v)
	var (
		told *wire.Error
		too  *http.MaxBytesError
	)
	if err == nil || errors.As(err, &told) || errors.As(err, &too) {
		return tooBig(err)
	}
	return badRequest(what + " decoding failed: " + err.Error())
}

func tooBig(err error) error {
	if err == nil {
		return nil
	}
	return wire.DecodeError(err)
}

// aclError returns the answer to a refused write: a server error, as in Consul.
func aclError(err error) error {
	switch skerry.KindOf(err) {
	case skerry.Invalid, skerry.Conflict, skerry.NotFound:
		return serverError(err.Error())
	}
	return err
}

// aclDeleted sends the answer to a removal.
func (q *request) aclDeleted(err error) error {
	switch skerry.KindOf(err) {
	case skerry.NotFound:
		if err != nil {
			return notFoundError(err.Error())
		}
	case skerry.Invalid:
		return serverError(err.Error())
	}
	if err != nil {
		return err
	}
	return q.json(true)
}

type jsonLink struct {
	ID   string
	Name string
}

type jsonServiceIdentity struct {
	ServiceName string
	Datacenters []string `json:",omitempty"`
}

type jsonNodeIdentity struct {
	NodeName   string
	Datacenter string
}

type jsonTemplated struct {
	TemplateName      string
	TemplateVariables *jsonVariables `json:",omitempty"`
	Datacenters       []string       `json:",omitempty"`
}

type jsonVariables struct {
	Name string
}

// jsonGrants has the fields that tokens and roles have in common.
type jsonGrants struct {
	Policies          []jsonLink            `json:",omitempty"`
	ServiceIdentities []jsonServiceIdentity `json:",omitempty"`
	NodeIdentities    []jsonNodeIdentity    `json:",omitempty"`
	TemplatedPolicies []jsonTemplated       `json:",omitempty"`
}

func linksJSON(links []skerry.Link) (out []jsonLink) {
	for _, l := range links {
		out = append(out, jsonLink(l))
	}
	return out
}

func links(from []jsonLink) (out []skerry.Link) {
	for _, l := range from {
		out = append(out, skerry.Link(l))
	}
	return out
}

func grantsJSON(g *skerry.Grants) jsonGrants {
	out := jsonGrants{Policies: linksJSON(g.Policies)}
	for _, i := range g.Services {
		out.ServiceIdentities = append(out.ServiceIdentities, jsonServiceIdentity{i.Service, i.Datacenters})
	}
	for _, i := range g.Nodes {
		out.NodeIdentities = append(out.NodeIdentities, jsonNodeIdentity{i.Node, i.Datacenter})
	}
	for _, t := range g.Templates {
		one := jsonTemplated{TemplateName: t.Template, Datacenters: t.Datacenters}
		if t.Name != "" {
			one.TemplateVariables = &jsonVariables{t.Name}
		}
		out.TemplatedPolicies = append(out.TemplatedPolicies, one)
	}
	return out
}

func (g *jsonGrants) grants() skerry.Grants {
	out := skerry.Grants{Policies: links(g.Policies)}
	for _, i := range g.ServiceIdentities {
		out.Services = append(out.Services, skerry.ServiceIdentity{Service: i.ServiceName, Datacenters: i.Datacenters})
	}
	for _, i := range g.NodeIdentities {
		out.Nodes = append(out.Nodes, skerry.NodeIdentity{Node: i.NodeName, Datacenter: i.Datacenter})
	}
	for _, t := range g.TemplatedPolicies {
		one := skerry.TemplatedPolicy{Template: t.TemplateName, Datacenters: t.Datacenters}
		if t.TemplateVariables != nil {
			one.Name = t.TemplateVariables.Name
		}
		out.Templates = append(out.Templates, one)
	}
	return out
}

// aclAuthorize answers many questions at once for the caller's own token.
func (q *request) aclAuthorize() error {
	type question struct {
		Resource skerry.Resource
		Segment  string
		Access   string
	}
	var asked []question
	if err := q.aclBody(&asked, "Authorize"); err != nil {
		return err
	}
	if len(asked) > maxQuestions {
		return badRequest("Refusing to process more than 64 authorizations at once")
	}
	type answer struct {
		question
		Allow bool
	}
	out := []answer{}
	for _, one := range asked {
		a, ok := map[string]skerry.Access{"read": skerry.AccessRead, "list": skerry.AccessList, "write": skerry.AccessWrite}[one.Access]
		if !ok {
			return badRequest("Invalid access level: " + one.Access)
		}
		out = append(out, answer{one, q.may(one.Resource, one.Segment, a)})
	}
	return q.json(out)
}

const maxQuestions = 64

func (q *request) agentToken() error {
	var body struct{ Token string }
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.f.b.Tokens.Set(q.rest, body.Token); err != nil {
		return err
	}
	q.empty()
	return nil
}

func (q *request) aclBootstrap() error {
	if p := q.f.b.Primary; p != nil {
		return serverError("ACL support disabled: the first token is made in the primary datacenter, " + p.Datacenter)
	}
	var body struct{ BootstrapSecret string }
	if q.r.ContentLength != 0 {
		if err := q.readJSON(&body); err != nil && !errors.Is(err, io.EOF) {
			return badRequest("Request decode failed: " + err.Error())
		}
	}
	t, err := q.f.b.ACL.Bootstrap(q.r.Context(), body.BootstrapSecret)
	if err != nil {
		return aclError(err)
	}
	return q.json(tokenJSON(t))
}

func (q *request) aclLogin() error {
	var body struct {
		AuthMethod  string
		BearerToken string
		Meta        map[string]string
	}
	if err := q.aclBody(&body, "Failed to decode request body"); err != nil {
		return err
	}
	t, err := q.f.b.ACL.Login(q.r.Context(), body.AuthMethod, body.BearerToken, body.Meta)
	if err != nil {
		return err
	}
	return q.json(tokenJSON(t))
}

func (q *request) aclLogout() error {
	if q.p.token == "" {
		return status(403, "ACL not found")
	}
	if err := q.f.b.ACL.Logout(q.r.Context(), q.p.token); err != nil {
		return err
	}
	q.empty()
	return nil
}
