package consul

import (
	"net/http"

	"github.com/skerryhq/skerry"
)

type jsonBinding struct {
	ID          string
	Description string
	AuthMethod  string
	Selector    string
	BindType    string
	BindName    string
	BindVars    *jsonVariables `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

func bindingJSON(b *skerry.BindingRule) jsonBinding {
	out := jsonBinding{
		ID: b.ID, Description: b.Description, AuthMethod: b.Method, Selector: b.Selector, BindType: b.BindType, BindName: b.BindName,
		CreateIndex: b.Created, ModifyIndex: b.Modified,
	}
	if b.BindVar != "" {
		out.BindVars = &jsonVariables{b.BindVar}
	}
	return out
}

func (q *request) aclBindings() error {
	if err := q.aclReady("binding"); err != nil {
		return err
	}
	all, index := q.f.b.ACL.Bindings(q.p.get("authmethod"))
	out := []jsonBinding{}
	for _, b := range all {
		out = append(out, bindingJSON(b))
	}
	q.meta(index)
	return q.json(out)
}

func (q *request) aclBindingCreate() error { return q.aclBindingPut("") }

func (q *request) aclBindingPut(id string) error {
	var b jsonBinding
	if err := q.aclBody(&b, "BindingRule"); err != nil {
		return err
	}
	switch {
	case id == "" && b.ID != "":
		return badRequest("Cannot specify the ID when creating a new binding rule")
	case id != "" && b.ID != "" && b.ID != id:
		return badRequest("BindingRule ID in URL and payload do not match")
	}
	rule := skerry.BindingRule{ID: id, Description: b.Description, Method: b.AuthMethod, Selector: b.Selector, BindType: b.BindType, BindName: b.BindName}
	if b.BindVars != nil {
		rule.BindVar = b.BindVars.Name
	}
	made, err := q.f.b.ACL.PutBinding(q.r.Context(), rule)
	if err != nil {
		return aclError(err)
	}
	return q.json(bindingJSON(made))
}

func (q *request) aclBinding() error {
	switch {
	case q.rest == "":
		return bare(badRequest("Missing binding rule ID"))
	case q.r.Method == http.MethodPut:
		return bare(q.aclBindingPut(q.rest))
	case q.r.Method == http.MethodDelete:
		return bare(q.aclDeleted(q.f.b.ACL.DeleteBinding(q.r.Context(), q.rest)))
	}
	if err := q.aclReady("binding"); err != nil {
		return err
	}
	b := q.f.b.ACL.Binding(q.rest)
	if b == nil {
		return q.aclNone("binding", notFoundError("Requested binding rule does not exist: ACL not found"))
	}
	q.aclMeta("binding")
	return q.json(bindingJSON(b))
}
