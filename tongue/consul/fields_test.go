package consul_test

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/access/rules"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/test/inprocess"
)

//go:embed testdata/fields.txt
var fieldsFile []byte

// takers are what the names in testdata/fields.txt stand for; %s is where the fields are.
var takers = map[string]struct{ method, path, body string }{
	"check":                {"PUT", "agent/check/register", `%s`},
	"service":              {"PUT", "agent/service/register", `%s`},
	"service.check":        {"PUT", "agent/service/register", `{"Check":%s}`},
	"service.proxy":        {"PUT", "agent/service/register", `{"Proxy":%s}`},
	"service.proxy.mg":     {"PUT", "agent/service/register", `{"Proxy":{"MeshGateway":%s}}`},
	"service.proxy.expose": {"PUT", "agent/service/register", `{"Proxy":{"Expose":%s}}`},
	"service.proxy.up":     {"PUT", "agent/service/register", `{"Proxy":{"Upstreams":[%s]}}`},
	"service.weights":      {"PUT", "agent/service/register", `{"Weights":%s}`},
	"service.tagged":       {"PUT", "agent/service/register", `{"TaggedAddresses":{"lan":%s}}`},
	"reg":                  {"PUT", "catalog/register", `%s`},
	"reg.service":          {"PUT", "catalog/register", `{"Service":%s}`},
	"reg.service.weights":  {"PUT", "catalog/register", `{"Service":{"Weights":%s}}`},
	"reg.service.proxy":    {"PUT", "catalog/register", `{"Service":{"Proxy":%s}}`},
	"reg.service.tagged":   {"PUT", "catalog/register", `{"Service":{"TaggedAddresses":{"lan":%s}}}`},
	"reg.check":            {"PUT", "catalog/register", `{"Check":%s}`},
	"reg.checks":           {"PUT", "catalog/register", `{"Checks":[%s]}`},
	"dereg":                {"PUT", "catalog/deregister", `%s`},
	"txn":                  {"PUT", "txn", `[%s]`},
	"txn.kv":               {"PUT", "txn", `[{"KV":%s}]`},
	"txn.node":             {"PUT", "txn", `[{"Node":%s}]`},
	"txn.node.node":        {"PUT", "txn", `[{"Node":{"Node":%s}}]`},
	"txn.service":          {"PUT", "txn", `[{"Service":%s}]`},
	"txn.service.service":  {"PUT", "txn", `[{"Service":{"Service":%s}}]`},
	"txn.service.weights":  {"PUT", "txn", `[{"Service":{"Service":{"Weights":%s}}}]`},
	"txn.check":            {"PUT", "txn", `[{"Check":%s}]`},
	"txn.check.check":      {"PUT", "txn", `[{"Check":{"Check":%s}}]`},
	"query":                {"POST", "query", `%s`},
	"query.service":        {"POST", "query", `{"Service":%s}`},
	"query.failover":       {"POST", "query", `{"Service":{"Failover":%s}}`},
	"query.template":       {"POST", "query", `{"Template":%s}`},
	"query.dns":            {"POST", "query", `{"DNS":%s}`},
	"coord":                {"PUT", "coordinate/update", `%s`},
	"coord.coord":          {"PUT", "coordinate/update", `{"Coord":%s}`},
	"update":               {"PUT", "agent/check/update/none", `%s`},
	"acl.token":            {"PUT", "acl/token", `%s`},
	"acl.token.pol":        {"PUT", "acl/token", `{"Policies":[%s]}`},
	"acl.token.role":       {"PUT", "acl/token", `{"Roles":[%s]}`},
	"acl.token.sid":        {"PUT", "acl/token", `{"ServiceIdentities":[%s]}`},
	"acl.token.nid":        {"PUT", "acl/token", `{"NodeIdentities":[%s]}`},
	"acl.policy":           {"PUT", "acl/policy", `%s`},
	"acl.role":             {"PUT", "acl/role", `%s`},
	"acl.method":           {"PUT", "acl/auth-method", `%s`},
	"acl.rule":             {"PUT", "acl/binding-rule", `%s`},
	"acl.login":            {"POST", "acl/login", `%s`},
}

// Every body takes the fields that Consul takes, and refuses all others by their name.
func TestFieldsOfBodies(t *testing.T) {
	takes := map[string]map[string]bool{}
	names := map[string]bool{"zzz": true}
	for lines := bufio.NewScanner(bytes.NewReader(fieldsFile)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if fields[0] == "#" {
			continue
		}
		takes[fields[0]] = map[string]bool{}
		for _, f := range fields[1:] {
			takes[fields[0]][strings.ToLower(f)], names[strings.ToLower(f)] = true, true
		}
	}
	if len(takes) != len(takers) {
		t.Fatalf("the file has %d takers, want %d", len(takes), len(takers))
	}
	at := inprocess.StartWith(t, func(cfg *node.Config) {
		cfg.ACL = node.ACL{Enabled: true, Defaults: rules.Strict, InitialManagement: management}
	})
	s := target{address: at.HTTP[0], token: management}.ready(t)
	for body, fields := range takes {
		b := takers[body]
		for _, name := range slices.Sorted(maps.Keys(names)) {
			_, text := s.do(t, b.method, "/v1/"+b.path, "", fmt.Sprintf(b.body, `{"`+name+`":null}`))
			if refused := strings.Contains(text, `unknown field "`+name+`"`); refused == fields[name] {
				t.Errorf("%s with %q: %s", body, name, text)
			}
		}
	}
}

// Stamps and definitions cannot be filtered by, as in Consul; nor can what a proxy and
// Connect say.
func TestFieldsThatCannotBeFiltered(t *testing.T) {
	s := target{address: inprocess.Start(t)}
	for path, selectors := range map[string][]string{
		"catalog/nodes":            {"CreateIndex", "ModifyIndex"},
		"catalog/service/web":      {"CreateIndex", "ServiceProxy.Mode", "ServiceConnect.Native"},
		"catalog/node/n1":          {"ModifyIndex", "Proxy.Upstreams", "Connect.Native"},
		"catalog/node-services/no": {"ModifyIndex"},
		"health/service/web":       {"Node.CreateIndex", "Service.ModifyIndex", "Service.Proxy.Mode", "Service.Connect.Native", "Checks.Definition", "Checks.CreateIndex"},
		"health/checks/web":        {"CreateIndex", "Definition.HTTP"},
		"agent/services":           {"ContentHash", "Datacenter"},
	} {
		for _, selector := range selectors {
			status, text := s.do(t, "GET", "/v1/"+path, "filter="+selector+"+is+empty", "")
			if status != 500 || !strings.Contains(text, "is not valid") {
				t.Errorf("%s with %s: %d %s", path, selector, status, text)
			}
		}
	}
}
