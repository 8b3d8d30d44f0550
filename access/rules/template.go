package rules

import (
	"slices"
	"strings"

	"github.com/skerryhq/skerry"
)

const variable = "{{.Name}}"

const nameSchema = `{
	"type": "object",
	"properties": {
		"name": { "type": "string", "$ref": "#/definitions/min-length-one" }
	},
	"required": ["name"],
	"definitions": {
		"min-length-one": {
			"type": "string",
			"minLength": 1
		}
	}
}`

// The names of the built-in templates.
const (
	ServiceTemplate = "builtin/service"
	NodeTemplate    = "builtin/node"
)

// Templates are the built-in templates, ordered by name: those that Consul documents.
var Templates = []skerry.Template{
	{
		Name: "builtin/api-gateway", Schema: nameSchema, Description: "Gives the token or role permissions for a Consul api gateway",
		Text: `mesh = "read"
node_prefix "" {
	policy = "read"
}
service_prefix "" {
	policy = "read"
}
service "{{.Name}}" {
	policy = "write"
}`,
	},
	{
		Name: "builtin/dns", Description: "Gives the token or role permissions for the Consul DNS to query services in the network.",
		Text: `node_prefix "" {
	policy = "read"
}
service_prefix "" {
	policy = "read"
}
query_prefix "" {
	policy = "read"
}`,
	},
	{
		Name: NodeTemplate, Schema: nameSchema, Description: "Gives the token or role permissions for a node of the given name: its registration, and finding services.",
		Text: `node "{{.Name}}" {
	policy = "write"
}
service_prefix "" {
	policy = "read"
}`,
	},
	{
		Name: "builtin/nomad-client", Description: "Gives the token or role permissions for integration with a nomad client.",
		Text: `agent_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}
service_prefix "" {
	policy = "write"
}
key_prefix "" {
	policy = "read"
}`,
	},
	{
		Name: "builtin/nomad-server", Description: "Gives the token or role permissions for integration with a nomad server.",
		Text: `acl = "write"
agent_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}
service_prefix "" {
	policy = "write"
}`,
	},
	{
		Name: ServiceTemplate, Schema: nameSchema, Description: "Gives the token or role permissions to register a service and discover services in the Consul catalog. It also gives the specified service's sidecar proxy the permission to discover and route traffic to other services.",
		Text: `service "{{.Name}}" {
	policy = "write"
}
service "{{.Name}}-sidecar-proxy" {
	policy = "write"
}
service_prefix "" {
	policy = "read"
}
node_prefix "" {
	policy = "read"
}`,
	},
}

// Template returns the built-in template of that name, or nil.
func Template(name string) *skerry.Template {
	for i := range Templates {
		if Templates[i].Name == name {
			return &Templates[i]
		}
	}
	return nil
}

// Named reports whether the template needs a name.
func Named(t *skerry.Template) bool { return strings.Contains(t.Text, variable) }

// Fill returns the text of a template made out for a name.
func Fill(t *skerry.Template, name string) string { return strings.ReplaceAll(t.Text, variable, name) }

// parsed are the rules of the templates, still with the variable in their names:
// a name can never become part of the rules' syntax.
var parsed = func() map[string][]Rule {
	out := map[string][]Rule{}
	for _, t := range Templates {
		rs, err := Parse(t.Text)
		if err != nil {
			panic("template " + t.Name + ": " + err.Error())
		}
		out[t.Name] = rs
	}
	return out
}()

// everything are the rules that span all resources, with one access to all.
func everything(a skerry.Access) (out []Rule) {
	for _, r := range resources {
		out = append(out, Rule{Resource: r, Prefix: !nameless[r], Access: a})
	}
	return out
}

// builtin are the rules of the policies that are always there.
var builtin = map[string][]Rule{
	skerry.GlobalManagement: everything(skerry.AccessWrite),
	skerry.GlobalReadOnly:   everything(skerry.AccessRead),
}

// Builtin returns the built-in policies.
func Builtin() []skerry.Policy {
	return []skerry.Policy{
		{ID: skerry.GlobalManagement, Name: "global-management", Rules: text(builtin[skerry.GlobalManagement]),
			Description: "A built-in policy that grants read and write access to all Consul features"},
		{ID: skerry.GlobalReadOnly, Name: "builtin/global-read-only", Rules: text(builtin[skerry.GlobalReadOnly]),
			Description: "A built-in policy that grants read-only access to all Consul features"},
	}
}

func text(rs []Rule) string {
	var b strings.Builder
	for _, r := range rs {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// Granted returns the rules of service and node identities and templated policies in a
// datacenter.
func Granted(g skerry.Grants, datacenter string) (out []Policy) {
	for _, s := range g.Services {
		if here(s.Datacenters, datacenter) {
			out = append(out, filled(ServiceTemplate, s.Service, "service identity "+s.Service))
		}
	}
	for _, n := range g.Nodes {
		if n.Datacenter == datacenter {
			out = append(out, filled(NodeTemplate, n.Node, "node identity "+n.Node))
		}
	}
	for _, t := range g.Templates {
		if here(t.Datacenters, datacenter) && parsed[t.Template] != nil {
			out = append(out, filled(t.Template, t.Name, strings.TrimSpace("templated policy "+t.Template+" "+t.Name)))
		}
	}
	return out
}

func here(datacenters []string, datacenter string) bool {
	return len(datacenters) == 0 || slices.Contains(datacenters, datacenter)
}

func filled(template, name, as string) Policy {
	rs := slices.Clone(parsed[template])
	for i := range rs {
		rs[i].Name = strings.ReplaceAll(rs[i].Name, variable, name)
	}
	return Policy{Name: as, Rules: rs}
}
