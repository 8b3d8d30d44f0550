package consul

import (
	"net/http"
	"strings"

	"github.com/skerryhq/skerry"
)

type jsonPolicy struct {
	ID          string
	Name        string
	Description string
	Rules       string
	Datacenters []string `json:",omitempty"`
	Hash        []byte
	CreateIndex uint64
	ModifyIndex uint64
}

// jsonPolicyEntry is a policy in the list, without its rules.
type jsonPolicyEntry struct {
	ID          string
	Name        string
	Description string
	Datacenters []string
	Hash        []byte
	CreateIndex uint64
	ModifyIndex uint64
}

func policyJSON(p *skerry.Policy) jsonPolicy {
	return jsonPolicy{p.ID, p.Name, p.Description, p.Rules, p.Datacenters, p.Hash, p.Created, p.Modified}
}

func (q *request) aclPolicies() error {
	if err := q.aclReady("policy"); err != nil {
		return err
	}
	all, index := q.f.b.ACL.Policies()
	out := []jsonPolicyEntry{}
	for _, p := range all {
		out = append(out, jsonPolicyEntry{p.ID, p.Name, p.Description, p.Datacenters, p.Hash, p.Created, p.Modified})
	}
	q.meta(index)
	return q.json(out)
}

func (q *request) aclPolicyCreate() error { return q.aclPolicyPut("") }

func (q *request) aclPolicyPut(id string) error {
	var b jsonPolicy
	if err := q.aclBody(&b, "Policy"); err != nil {
		return err
	}
	switch {
	case id == "" && b.ID != "":
		return badRequest("Cannot specify the ID when creating a new policy")
	case id != "" && b.ID != "" && b.ID != id:
		return badRequest("Policy ID in URL and payload do not match")
	}
	p, err := q.f.b.ACL.PutPolicy(q.r.Context(), skerry.Policy{ID: id, Name: b.Name, Description: b.Description, Rules: b.Rules, Datacenters: b.Datacenters})
	if err != nil {
		return aclError(err)
	}
	return q.json(policyJSON(p))
}

func (q *request) aclPolicy() error {
	switch {
	case q.rest == "":
		return bare(badRequest("Missing policy ID"))
	case q.r.Method == http.MethodPut:
		return bare(q.aclPolicyPut(q.rest))
	case q.r.Method == http.MethodDelete:
		return bare(q.aclDeleted(q.f.b.ACL.DeletePolicy(q.r.Context(), q.rest)))
	}
	if err := q.aclReady("policy"); err != nil {
		return err
	}
	return q.aclPolicyShow(q.f.b.ACL.Policy(q.rest))
}

func (q *request) aclPolicyByName() error {
	if err := q.aclReady("policy"); err != nil {
		return err
	}
	return q.aclPolicyShow(q.f.b.ACL.PolicyByName(q.rest))
}

func (q *request) aclPolicyShow(p *skerry.Policy) error {
	if p == nil {
		return q.aclNone("policy", notFoundError("Requested policy does not exist: ACL not found"))
	}
	q.aclMeta("policy")
	return q.json(policyJSON(p))
}

type jsonTemplate struct {
	TemplateName string
	Schema       string
	Template     string
	Description  string
}

func (q *request) aclTemplates() error {
	out := map[string]jsonTemplate{}
	for _, t := range q.f.b.ACL.Templates() {
		out[t.Name] = jsonTemplate{t.Name, t.Schema, t.Text, t.Description}
	}
	return q.json(out)
}

func (q *request) aclTemplate() error {
	for _, t := range q.f.b.ACL.Templates() {
		if t.Name == q.rest {
			return q.json(jsonTemplate{t.Name, t.Schema, t.Text, t.Description})
		}
	}
	return notFoundError("Invalid templated policy Name: " + q.rest)
}

func (q *request) aclTemplatePreview() error {
	var b jsonVariables
	if q.r.ContentLength != 0 {
		if err := q.aclBody(&b, "Variables"); err != nil {
			return err
		}
	}
	p, err := q.f.b.ACL.FillTemplate(skerry.TemplatedPolicy{Template: strings.TrimSuffix(q.rest, "/"), Name: b.Name})
	if err != nil {
		return err
	}
	return q.json(policyJSON(p))
}
