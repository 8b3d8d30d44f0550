package consul

import (
	"net/http"

	"github.com/skerryhq/skerry"
)

type jsonRole struct {
	ID          string
	Name        string
	Description string
	jsonGrants
	Hash        []byte
	CreateIndex uint64
	ModifyIndex uint64
}

func roleJSON(r *skerry.Role) jsonRole {
	return jsonRole{r.ID, r.Name, r.Description, grantsJSON(&r.Grants), r.Hash, r.Created, r.Modified}
}

func (q *request) aclRoles() error {
	if err := q.aclReady("role"); err != nil {
		return err
	}
	all, index := q.f.b.ACL.Roles()
	policy := q.p.get("policy")
	out := []jsonRole{}
	for _, r := range all {
		keep := policy == ""
		for _, l := range r.Policies {
			keep = keep || l.ID == policy
		}
		if keep {
			out = append(out, roleJSON(r))
		}
	}
	q.meta(index)
	return q.json(out)
}

func (q *request) aclRoleCreate() error { return q.aclRolePut("") }

func (q *request) aclRolePut(id string) error {
	var b jsonRole
	if err := q.aclBody(&b, "Role"); err != nil {
		return err
	}
	switch {
	case id == "" && b.ID != "":
		return badRequest("Cannot specify the ID when creating a new role")
	case id != "" && b.ID != "" && b.ID != id:
		return badRequest("Role ID in URL and payload do not match")
	}
	r, err := q.f.b.ACL.PutRole(q.r.Context(), skerry.Role{ID: id, Name: b.Name, Description: b.Description, Grants: b.grants()})
	if err != nil {
		return aclError(err)
	}
	return q.json(roleJSON(r))
}

func (q *request) aclRole() error {
	switch {
	case q.rest == "":
		return bare(badRequest("Missing role ID"))
	case q.r.Method == http.MethodPut:
		return bare(q.aclRolePut(q.rest))
	case q.r.Method == http.MethodDelete:
		return bare(q.aclDeleted(q.f.b.ACL.DeleteRole(q.r.Context(), q.rest)))
	}
	if err := q.aclReady("role"); err != nil {
		return err
	}
	return q.aclRoleShow(q.f.b.ACL.Role(q.rest))
}

func (q *request) aclRoleByName() error {
	if err := q.aclReady("role"); err != nil {
		return err
	}
	return q.aclRoleShow(q.f.b.ACL.RoleByName(q.rest))
}

func (q *request) aclRoleShow(r *skerry.Role) error {
	if r == nil {
		return q.aclNone("role", notFoundError("Requested role does not exist: ACL not found"))
	}
	q.aclMeta("role")
	return q.json(roleJSON(r))
}
