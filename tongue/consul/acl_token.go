package consul

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

type jsonToken struct {
	AccessorID  string
	SecretID    string
	Description string
	jsonGrants
	Roles          []jsonLink `json:",omitempty"`
	Local          bool
	AuthMethod     string     `json:",omitempty"`
	ExpirationTime *time.Time `json:",omitempty"`
	CreateTime     time.Time
	Hash           []byte
	CreateIndex    uint64
	ModifyIndex    uint64
}

func tokenJSON(t *skerry.Token) jsonToken {
	out := jsonToken{
		AccessorID: t.Accessor, SecretID: cmp.Or(t.Secret, hidden), Description: t.Description, jsonGrants: grantsJSON(&t.Grants),
		Roles: linksJSON(t.Roles), Local: t.Local, AuthMethod: t.Method, CreateTime: t.Made, Hash: t.Hash,
		CreateIndex: t.Created, ModifyIndex: t.Modified,
	}
	if !t.Expires.IsZero() {
		out.ExpirationTime = &t.Expires
	}
	return out
}

// shownToken returns a token for an answer, without the secret if the caller may only read.
func (q *request) shownToken(t *skerry.Token) jsonToken {
	out := tokenJSON(t)
	if !q.may(skerry.ResourceACL, "", skerry.AccessWrite) {
		out.SecretID = hidden
	}
	return out
}

type tokenBody struct {
	AccessorID  string
	SecretID    string
	Description string
	jsonGrants
	Roles          []jsonLink
	Local          bool
	AuthMethod     string
	ExpirationTTL  wire.Duration
	ExpirationTime *time.Time

	CreateIndex, ModifyIndex, CreateTime, Hash, Rules wire.Ignored
}

func (b *tokenBody) token() skerry.Token {
	t := skerry.Token{
		Accessor: b.AccessorID, Secret: b.SecretID, Description: b.Description, Grants: b.grants(), Roles: links(b.Roles),
		Local: b.Local, Method: b.AuthMethod,
	}
	if b.ExpirationTime != nil {
		t.Expires = b.ExpirationTime.UTC()
	}
	return t
}

func (q *request) aclTokens() error {
	if err := q.aclReady("token"); err != nil {
		return err
	}
	keep, err := q.tokenFilter()
	if err != nil {
		return err
	}
	all, index := q.f.b.ACL.Tokens()
	out := []jsonToken{}
	for _, t := range all {
		if keep(t) {
			out = append(out, q.shownToken(t))
		}
	}
	q.meta(index)
	return q.json(out)
}

// tokenFilter reads ?policy, ?role, ?servicename and ?authmethod, of which one may be given.
func (q *request) tokenFilter() (func(*skerry.Token) bool, error) {
	policy, role, service, method := q.p.get("policy"), q.p.get("role"), q.p.get("servicename"), q.p.get("authmethod")
	given := 0
	for _, v := range []string{policy, role, service, method} {
		if v != "" {
			given++
		}
	}
	if given > 1 {
		return nil, badRequest("can only filter by one of: policy, role, servicename, authmethod")
	}
	has := func(links []skerry.Link, id string) bool {
		return slices.ContainsFunc(links, func(l skerry.Link) bool { return l.ID == id })
	}
	return func(t *skerry.Token) bool {
		switch {
		case policy != "":
			return has(t.Policies, policy)
		case role != "":
			return has(t.Roles, role)
		case service != "":
			return slices.ContainsFunc(t.Services, func(i skerry.ServiceIdentity) bool { return i.Service == service })
		case method != "":
			return t.Method == method
		}
		return true
	}, nil
}

func (q *request) aclTokenCreate() error {
	var b tokenBody
	if err := q.aclBody(&b, "Token"); err != nil {
		return err
	}
	t := b.token()
	t.Method = "" // only a login sets it
	made, err := q.f.b.ACL.CreateToken(q.r.Context(), t, time.Duration(b.ExpirationTTL))
	if err != nil {
		return aclError(err)
	}
	return q.json(tokenJSON(made))
}

// aclToken serves one token: it is read, changed, removed, or (…/clone) copied.
func (q *request) aclToken() error {
	accessor, clone := strings.CutSuffix(q.rest, "/clone")
	switch {
	case accessor == "":
		return bare(badRequest("Missing token AccessorID"))
	case clone && q.r.Method != http.MethodPut:
		q.w.Header()["Allow"] = []string{"OPTIONS,PUT"}
		return bare(status(405, "method "+q.r.Method+" not allowed"))
	case clone:
		return q.aclTokenClone(accessor)
	case q.r.Method == http.MethodPut:
		return bare(q.aclTokenUpdate())
	case q.r.Method == http.MethodDelete:
		return bare(q.aclDeleted(q.f.b.ACL.DeleteToken(q.r.Context(), accessor)))
	}
	if err := q.aclReady("token"); err != nil {
		return err
	}
	t := q.f.b.ACL.Token(accessor)
	if t == nil {
		if err := q.f.b.ACL.Sound("token", ""); err != nil {
			return err
		}
		return noToken()
	}
	q.aclMeta("token")
	if q.p.has("expanded") && q.p.get("expanded") != "false" {
		return q.json(q.expanded(t))
	}
	return q.json(q.shownToken(t))
}

func noToken() error { return status(403, "token does not exist: ACL not found") }

func (q *request) aclTokenUpdate() error {
	var b tokenBody
	if err := q.aclBody(&b, "Token"); err != nil {
		return err
	}
	if b.AccessorID != "" && b.AccessorID != q.rest {
		return badRequest("Token Accessor ID in URL and payload do not match")
	}
	if b.SecretID == hidden {
		b.SecretID = ""
	}
	t := b.token()
	t.Accessor = q.rest
	if b.ExpirationTTL != 0 {
		return serverError("Cannot change expiration time of " + q.rest)
	}
	updated, err := q.f.b.ACL.UpdateToken(q.r.Context(), t)
	if err != nil {
		return aclError(err)
	}
	return q.json(tokenJSON(updated))
}

func (q *request) aclTokenClone(accessor string) error {
	var b tokenBody
	if q.r.ContentLength != 0 {
		if err := q.aclBody(&b, "Token"); err != nil {
			return bare(err)
		}
	}
	t, err := q.f.b.ACL.CloneToken(q.r.Context(), accessor, b.Description)
	if err != nil {
		return bare(aclError(err))
	}
	return q.json(tokenJSON(t))
}

// aclTokenSelf shows the caller's own token.
func (q *request) aclTokenSelf() error {
	if err := q.aclReady("token"); err != nil {
		return err
	}
	var t *skerry.Token
	if q.p.token != "" {
		t = q.f.b.ACL.TokenBySecret(q.p.token)
	}
	if t == nil {
		return noToken()
	}
	q.aclMeta("token")
	return q.json(tokenJSON(t))
}

type jsonExpanded struct {
	jsonToken
	ExpandedPolicies          []jsonPolicy
	ExpandedRoles             []jsonRole
	NamespaceDefaultPolicyIDs []string
	NamespaceDefaultRoleIDs   []string
	AgentACLDefaultPolicy     string
	AgentACLDownPolicy        string
	ResolvedByAgent           string
}

// expanded returns a token with all linked policies and roles in full.
func (q *request) expanded(t *skerry.Token) jsonExpanded {
	out := jsonExpanded{
		jsonToken: q.shownToken(t), AgentACLDefaultPolicy: q.f.policy[0], AgentACLDownPolicy: "extend-cache", ResolvedByAgent: q.f.b.Self.Name,
	}
	seen := map[string]bool{}
	add := func(links []skerry.Link) {
		for _, l := range links {
			if p := q.f.b.ACL.Policy(l.ID); p != nil && !seen[l.ID] {
				seen[l.ID] = true
				out.ExpandedPolicies = append(out.ExpandedPolicies, policyJSON(p))
			}
		}
	}
	add(t.Policies)
	for _, l := range t.Roles {
		if r := q.f.b.ACL.Role(l.ID); r != nil {
			out.ExpandedRoles = append(out.ExpandedRoles, roleJSON(r))
			add(r.Policies)
		}
	}
	return out
}
