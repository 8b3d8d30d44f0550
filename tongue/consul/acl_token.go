package consul

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

// Tokens are the tokens of the store.
type Tokens interface {
	Token(accessor string) *skerry.Token
	TokenBySecret(secret string) *skerry.Token
	Tokens() ([]*skerry.Token, uint64)
	CreateToken(ctx context.Context, t skerry.Token, ttl time.Duration) (*skerry.Token, error)
	UpdateToken(ctx context.Context, t skerry.Token) (*skerry.Token, error)
	CloneToken(ctx context.Context, accessor, description string) (*skerry.Token, error)
	DeleteToken(ctx context.Context, accessor string) error
}

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

// hidden stands for a secret that is not shown.
const hidden = "<hidden>"

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

// shownToken hides the secret from who may only read.
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
	ExpirationTTL  duration
	ExpirationTime *time.Time

	CreateIndex, ModifyIndex, CreateTime, Hash, Rules ignored
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
	all, index := q.t.b.ACL.Tokens()
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
	made, err := q.t.b.ACL.CreateToken(q.r.Context(), t, time.Duration(b.ExpirationTTL))
	if err != nil {
		return aclError(err)
	}
	return q.json(tokenJSON(made))
}

// aclToken is one token: read, changed, removed, or (…/clone) copied.
func (q *request) aclToken() error {
	accessor, clone := strings.CutSuffix(q.rest, "/clone")
	switch {
	case accessor == "":
		return q.bare(badRequest("Missing token AccessorID"))
	case clone && q.r.Method != http.MethodPut:
		q.w.Header()["Allow"] = []string{"OPTIONS,PUT"}
		return q.bare(&statusError{405, "method " + q.r.Method + " not allowed"})
	case clone:
		return q.aclTokenClone(accessor)
	case q.r.Method == http.MethodPut:
		return q.bare(q.aclTokenUpdate())
	case q.r.Method == http.MethodDelete:
		return q.bare(q.aclDeleted(q.t.b.ACL.DeleteToken(q.r.Context(), accessor)))
	}
	if err := q.aclReady("token"); err != nil {
		return err
	}
	t := q.t.b.ACL.Token(accessor)
	if t == nil {
		if err := q.t.b.ACL.Sound("token", ""); err != nil {
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

func noToken() error { return &statusError{403, "token does not exist: ACL not found"} }

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
	updated, err := q.t.b.ACL.UpdateToken(q.r.Context(), t)
	if err != nil {
		return aclError(err)
	}
	return q.json(tokenJSON(updated))
}

func (q *request) aclTokenClone(accessor string) error {
	var b tokenBody
	if q.r.ContentLength != 0 {
		if err := q.aclBody(&b, "Token"); err != nil {
			return q.bare(err)
		}
	}
	t, err := q.t.b.ACL.CloneToken(q.r.Context(), accessor, b.Description)
	if err != nil {
		return q.bare(aclError(err))
	}
	return q.json(tokenJSON(t))
}

// aclTokenSelf shows the asker's own token.
func (q *request) aclTokenSelf() error {
	if err := q.aclReady("token"); err != nil {
		return err
	}
	var t *skerry.Token
	if q.p.token != "" {
		t = q.t.b.ACL.TokenBySecret(q.p.token)
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

// expanded is a token with all that it links to, in full.
func (q *request) expanded(t *skerry.Token) jsonExpanded {
	out := jsonExpanded{
		jsonToken: q.shownToken(t), AgentACLDefaultPolicy: q.t.policy[0], AgentACLDownPolicy: "extend-cache", ResolvedByAgent: q.t.cfg.NodeName,
	}
	seen := map[string]bool{}
	add := func(links []skerry.Link) {
		for _, l := range links {
			if p := q.t.b.ACL.Policy(l.ID); p != nil && !seen[l.ID] {
				seen[l.ID] = true
				out.ExpandedPolicies = append(out.ExpandedPolicies, policyJSON(p))
			}
		}
	}
	add(t.Policies)
	for _, l := range t.Roles {
		if r := q.t.b.ACL.Role(l.ID); r != nil {
			out.ExpandedRoles = append(out.ExpandedRoles, roleJSON(r))
			add(r.Policies)
		}
	}
	return out
}
