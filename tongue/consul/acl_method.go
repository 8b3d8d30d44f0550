package consul

import (
	"cmp"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// jsonMethodEntry is an auth method in the list, without its configuration.
type jsonMethodEntry struct {
	Name          string
	Type          string
	DisplayName   string `json:",omitempty"`
	Description   string `json:",omitempty"`
	MaxTokenTTL   string `json:",omitempty"`
	TokenLocality string `json:",omitempty"`
	CreateIndex   uint64
	ModifyIndex   uint64
}

type jsonMethod struct {
	jsonMethodEntry
	Config map[string]any
}

type methodBody struct {
	Name          string
	Type          string
	DisplayName   string
	Description   string
	MaxTokenTTL   wire.Duration
	TokenLocality string
	Config        map[string]any

	CreateIndex, ModifyIndex wire.Ignored
}

func methodEntry(m *skerry.AuthMethod) jsonMethodEntry {
	out := jsonMethodEntry{
		Name: m.Name, Type: m.Type, DisplayName: m.DisplayName, Description: m.Description, TokenLocality: m.Locality,
		CreateIndex: m.Created, ModifyIndex: m.Modified,
	}
	if m.MaxTTL > 0 {
		out.MaxTokenTTL = m.MaxTTL.String()
	}
	return out
}

func methodJSON(m *skerry.AuthMethod) jsonMethod { return jsonMethod{methodEntry(m), m.Config} }

func (q *request) aclMethods() error {
	if err := q.aclReady("method"); err != nil {
		return err
	}
	all, index := q.f.b.ACL.Methods()
	out := []jsonMethodEntry{}
	for _, m := range all {
		out = append(out, methodEntry(m))
	}
	q.meta(index)
	return q.json(out)
}

func (q *request) aclMethodCreate() error { return q.aclMethodPut("") }

func (q *request) aclMethodPut(name string) error {
	var b methodBody
	if err := q.aclBody(&b, "AuthMethod"); err != nil {
		return err
	}
	if name != "" && b.Name != "" && b.Name != name {
		return badRequest("AuthMethod Name in URL and payload do not match")
	}
	m, err := q.f.b.ACL.PutMethod(q.r.Context(), skerry.AuthMethod{
		Name: cmp.Or(name, b.Name), Type: b.Type, DisplayName: b.DisplayName, Description: b.Description,
		MaxTTL: time.Duration(b.MaxTokenTTL), Locality: b.TokenLocality, Config: b.Config,
	}, name == "")
	if err != nil {
		return aclError(err)
	}
	return q.json(methodJSON(m))
}

func (q *request) aclMethod() error {
	switch {
	case q.rest == "":
		return bare(badRequest("Missing auth method name"))
	case q.r.Method == http.MethodPut:
		return bare(q.aclMethodPut(q.rest))
	case q.r.Method == http.MethodDelete:
		return bare(q.aclDeleted(q.f.b.ACL.DeleteMethod(q.r.Context(), q.rest)))
	}
	if err := q.aclReady("method"); err != nil {
		return err
	}
	m := q.f.b.ACL.Method(q.rest)
	if m == nil {
		return q.aclNone("method", notFoundError("Requested auth method does not exist: ACL not found"))
	}
	q.aclMeta("method")
	return q.json(methodJSON(m))
}
