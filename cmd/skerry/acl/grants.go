package acl

import (
	"context"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

// grants are the flags that tokens and roles have in common.
type grants struct {
	policyIDs, policyNames []string
	services, nodes        []string
	templates, vars        []string
}

func (g *grants) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&g.policyIDs, "policy-id", nil, "`ID` of a policy, or its beginning; repeatable")
	f.StringArrayVar(&g.policyNames, "policy-name", nil, "`name` of a policy; repeatable")
	f.StringArrayVar(&g.services, "service-identity", nil, "`SERVICE[:DC,…]` whose rights are granted; repeatable")
	f.StringArrayVar(&g.nodes, "node-identity", nil, "`NODE:DC` whose rights are granted; repeatable")
	f.StringArrayVar(&g.templates, "templated-policy", nil, "`template` of rules, such as builtin/dns; one with variables takes them from -var")
	f.StringArrayVar(&g.vars, "var", nil, "`name:VALUE` of the templated policy's variable")
}

// given reports whether any of the flags was.
func (g *grants) given() bool {
	return len(g.policyIDs)+len(g.policyNames)+len(g.services)+len(g.nodes)+len(g.templates) > 0
}

func (g *grants) policies(ctx context.Context, c *connect.Connection) ([]*api.ACLLink, error) {
	return policyLinks(ctx, c, "-policy-id", g.policyIDs, g.policyNames)
}

func policyLinks(ctx context.Context, c *connect.Connection, flag string, ids, names []string) (out []*api.ACLLink, err error) {
	for _, given := range ids {
		id, err := policyID(ctx, c, flag, given, "")
		if err != nil {
			return nil, err
		}
		out = append(out, &api.ACLLink{ID: id})
	}
	for _, name := range names {
		out = append(out, &api.ACLLink{Name: name})
	}
	return out, nil
}

func (g *grants) serviceIdentities() (out []*api.ACLServiceIdentity) {
	for _, s := range g.services {
		name, dcs, _ := strings.Cut(s, ":")
		one := &api.ACLServiceIdentity{ServiceName: name}
		if dcs != "" {
			one.Datacenters = strings.Split(dcs, ",")
		}
		out = append(out, one)
	}
	return out
}

func (g *grants) nodeIdentities() (out []*api.ACLNodeIdentity, err error) {
	for _, s := range g.nodes {
		name, dc, ok := strings.Cut(s, ":")
		if !ok || name == "" || dc == "" {
			return nil, connect.Usagef("-node-identity: %q: want NODE:DATACENTER", s)
		}
		out = append(out, &api.ACLNodeIdentity{NodeName: name, Datacenter: dc})
	}
	return out, nil
}

func (g *grants) templated() ([]*api.ACLTemplatedPolicy, error) {
	if len(g.vars) > 0 && len(g.templates) != 1 {
		return nil, connect.Usagef("-var goes with one -templated-policy")
	}
	v, err := variables(g.vars)
	if err != nil {
		return nil, err
	}
	var out []*api.ACLTemplatedPolicy
	for _, t := range g.templates {
		out = append(out, &api.ACLTemplatedPolicy{TemplateName: t, TemplateVariables: v})
	}
	return out, nil
}

func variables(given []string) (*api.ACLTemplatedPolicyVariables, error) {
	if len(given) == 0 {
		return nil, nil
	}
	name, value, ok := strings.Cut(given[0], ":")
	if !ok || name != "name" || len(given) > 1 {
		return nil, connect.Usagef("-var: %q: want name:VALUE, once", strings.Join(given, " "))
	}
	return &api.ACLTemplatedPolicyVariables{Name: value}, nil
}

func linkLines(links []*api.ACLLink) (out []string) {
	for _, l := range links {
		out = append(out, l.ID+" - "+l.Name)
	}
	return out
}

func (f *fields) grants(policies []*api.ACLLink, services []*api.ACLServiceIdentity, nodes []*api.ACLNodeIdentity, templates []*api.ACLTemplatedPolicy) {
	f.list("Policies", linkLines(policies))
	var lines []string
	for _, s := range services {
		where := "all"
		if len(s.Datacenters) > 0 {
			where = strings.Join(s.Datacenters, ", ")
		}
		lines = append(lines, s.ServiceName+" (Datacenters: "+where+")")
	}
	f.list("Service Identities", lines)
	lines = nil
	for _, n := range nodes {
		lines = append(lines, n.NodeName+" (Datacenter: "+n.Datacenter+")")
	}
	f.list("Node Identities", lines)
	lines = nil
	for _, t := range templates {
		one := t.TemplateName
		if t.TemplateVariables != nil && t.TemplateVariables.Name != "" {
			one += " (name: " + t.TemplateVariables.Name + ")"
		}
		lines = append(lines, one)
	}
	f.list("Templated Policies", lines)
}
