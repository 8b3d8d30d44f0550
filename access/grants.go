package access

import (
	"encoding/hex"
	"regexp"
	"slices"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/rules"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

var (
	serviceNameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9\-_]*[a-z0-9])?$`)
	nodeNameForm    = regexp.MustCompile(`^[a-z0-9A-Z]([a-z0-9A-Z\-_.]*[a-z0-9A-Z])?$`)
)

const maxIdentityName = 256

// resolve makes links by ID of links by name or ID, drops repeated ones, and returns an
// error for bad identities.
func (s *Store) resolve(tx skerry.Tx, g *skerry.Grants, local bool) (err error) {
	if g.Policies, err = resolveLinks(tx, g.Policies, policyByName, policyByID, "policy"); err != nil {
		return err
	}
	for _, i := range g.Services {
		if err := checkServiceIdentity(i, local); err != nil {
			return err
		}
	}
	for _, i := range g.Nodes {
		switch {
		case i.Node == "":
			return skerry.Errorf(skerry.Invalid, "Node identity is missing the node name field on this token")
		case i.Datacenter == "":
			return skerry.Errorf(skerry.Invalid, "Node identity %q is missing the datacenter field on this token", i.Node)
		case len(i.Node) > maxIdentityName || !nodeNameForm.MatchString(i.Node):
			return skerry.Errorf(skerry.Invalid, "Node identity %q has an invalid name. Only alphanumeric characters, '-', '_' and '.' are allowed", i.Node)
		}
	}
	for _, t := range g.Templates {
		if err := checkTemplate(t, local); err != nil {
			return err
		}
	}
	return nil
}

func checkServiceIdentity(i skerry.ServiceIdentity, local bool) error {
	switch {
	case i.Service == "":
		return skerry.Errorf(skerry.Invalid, "Service identity is missing the service name field on this token")
	case local && len(i.Datacenters) > 0:
		return skerry.Errorf(skerry.Invalid, "Service identity %q cannot specify a list of datacenters on a local token", i.Service)
	case len(i.Service) > maxIdentityName || !serviceNameForm.MatchString(i.Service):
		return skerry.Errorf(skerry.Invalid, "Service identity %q has an invalid name. Only lowercase alphanumeric characters, '-' and '_' are allowed", i.Service)
	}
	return nil
}

func checkTemplate(t skerry.TemplatedPolicy, local bool) error {
	template := rules.Template(t.Template)
	switch {
	case t.Template == "":
		return skerry.Errorf(skerry.Invalid, "templated policy is missing the template name field on this token")
	case template == nil:
		return skerry.Errorf(skerry.Invalid, "no such ACL templated policy with Name %q", t.Template)
	case local && len(t.Datacenters) > 0:
		return skerry.Errorf(skerry.Invalid, "templated policy %q cannot specify a list of datacenters on a local token", t.Template)
	case rules.Named(template) && t.Name == "":
		return skerry.Errorf(skerry.Invalid, "validation error for templated policy: %q needs the variable name", t.Template)
	case !rules.Named(template) && t.Name != "":
		return skerry.Errorf(skerry.Invalid, "validation error for templated policy: %q takes no variables", t.Template)
	case t.Template == rules.ServiceTemplate:
		return checkServiceIdentity(skerry.ServiceIdentity{Service: t.Name}, false)
	case len(t.Name) > maxIdentityName || t.Name != "" && !nodeNameForm.MatchString(t.Name):
		return skerry.Errorf(skerry.Invalid, "templated policy %q has an invalid name %q. Only alphanumeric characters, '-', '_' and '.' are allowed", t.Template, t.Name)
	}
	return nil
}

// resolveLinks returns links by ID only. byName returns an ID, byID whether there is one.
func resolveLinks(tx skerry.Tx, links []skerry.Link, byName func(getter, string) string, byID func(getter, string) bool, what string) (out []skerry.Link, err error) {
	for _, l := range links {
		id := l.ID
		if id == "" {
			if id = byName(tx, l.Name); id == "" {
				return nil, skerry.Errorf(skerry.Invalid, "No such ACL %s with name %q", what, l.Name)
			}
		} else if !byID(tx, id) {
			return nil, skerry.Errorf(skerry.Invalid, "No such ACL %s with ID %q", what, id)
		}
		if !slices.Contains(out, skerry.Link{ID: id}) {
			out = append(out, skerry.Link{ID: id})
		}
	}
	return out, nil
}

func policyByName(g getter, name string) string { return text(g.Get(policyNameKey(name))) }
func policyByID(g getter, id string) bool       { return g.Get(policyKey(id)) != nil }
func roleByName(g getter, name string) string   { return text(g.Get(roleNameKey(name))) }
func roleByID(g getter, id string) bool         { return g.Get(roleKey(id)) != nil }

func text(r *skerry.Record) string {
	if r == nil {
		return ""
	}
	return string(r.Value)
}

func policyName(g getter, id string) (string, bool) {
	p := read[skerry.Policy](g, policyKey(id))
	if p == nil {
		return "", broken(g, policyKey(id))
	}
	return p.Name, true
}

func roleName(g getter, id string) (string, bool) {
	r := read[skerry.Role](g, roleKey(id))
	if r == nil {
		return "", broken(g, roleKey(id))
	}
	return r.Name, true
}

// linked returns the links with the present names; links to deleted records are left out,
// and damaged ones have no name.
func linked(g getter, links []skerry.Link, name func(getter, string) (string, bool)) (out []skerry.Link) {
	for _, l := range links {
		if n, ok := name(g, l.ID); ok {
			out = append(out, skerry.Link{ID: l.ID, Name: n})
		}
	}
	return out
}
