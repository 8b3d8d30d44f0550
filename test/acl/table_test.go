// Package acl asks every endpoint with every kind of token and holds doc/acl.md
// to the answers.
package acl

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/node"
)

// patience bounds every wait for something that is sure to come.
const patience = 30 * time.Second

var update = flag.Bool("update", false, "write doc/acl.md anew")

const (
	docPath      = "../../doc/acl.md"
	coveragePath = "../../doc/coverage.md"
	root         = "aaaaaaaa-0000-4000-8000-00000000000a"
)

// client asks one server.
type client struct {
	t    *testing.T
	base string
	dns  string
	n    int
}

type answer struct {
	status   int
	body     []byte
	filtered bool
}

func (c *client) ask(method, path, body, token string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, filtered: resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true"}
	if streams(path) && a.status == http.StatusOK {
		return a
	}
	if a.body, err = io.ReadAll(resp.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		c.t.Fatal(err)
	}
	return a
}

func streams(path string) bool {
	return path == "/v1/agent/monitor" || path == "/v1/agent/metrics/stream" || strings.HasPrefix(path, "/v1/skerry/follow?")
}

// make asks with the root token, and returns a field of the answer.
func (c *client) make(method, path, body, field string) string {
	c.t.Helper()
	a := c.ask(method, path, body, root)
	if a.status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if field == "" {
		return ""
	}
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		c.t.Fatalf("%s %s: %s", method, path, a.body)
	}
	return v[field].(string)
}

// things makes everything that the table's requests name, anew: requests before
// may have removed it. It returns what stands for $session and the like.
func (c *client) things(request string) map[string]string {
	c.n++
	c.make(put, "/v1/agent/service/register", `{"Name":"api","Port":1,"Check":{"CheckID":"beat","TTL":"1h"}}`, "")
	c.make(put, "/v1/catalog/register", `{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":80},"Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web"}}`, "")
	c.make(put, "/v1/coordinate/update", coordinate, "")
	c.make(put, "/v1/kv/app/a", "1", "")
	c.make(put, "/v1/kv/app/b", "2", "")
	ids := map[string]string{"$unique": fmt.Sprintf("made-%d", c.n)}
	name := fmt.Sprintf(`{"Name":"spare-%d"}`, c.n)
	for key, one := range map[string]ask{
		"$session": {put, "", "/v1/session/create", `{"Node":"far","NodeChecks":[]}`},
		"$token":   {put, "", "/v1/acl/token", `{}`},
		"$policy":  {put, "", "/v1/acl/policy", name},
		"$role":    {put, "", "/v1/acl/role", name},
	} {
		if strings.Contains(request, key) || key == "$session" && strings.Contains(request, "/v1/session/") {
			ids[key] = c.make(one.method, one.path, one.body, map[string]string{"$token": "AccessorID"}[key]+map[string]string{"$session": "ID", "$policy": "ID", "$role": "ID"}[key])
		}
	}
	c.ask(put, "/v1/acl/role", `{"Name":"spare"}`, root)
	c.ask(put, "/v1/acl/auth-method", `{"Name":"idp","Type":"jwt","Config":{"JWKSURL":"http://127.0.0.1:1/"}}`, root)
	if strings.Contains(request, "$binding") {
		ids["$binding"] = c.make(put, "/v1/acl/binding-rule", `{"AuthMethod":"idp","BindType":"role","BindName":"x"}`, "ID")
	}
	var queries []struct{ ID, Name string }
	json.Unmarshal(c.ask(get, "/v1/query", "", root).body, &queries)
	for _, q := range queries {
		if q.Name == "find" {
			ids["$query"] = q.ID
		}
	}
	if ids["$query"] == "" {
		ids["$query"] = c.make(post, "/v1/query", `{"Name":"find","Service":{"Service":"web"}}`, "ID")
	}
	return ids
}

// tidy removes what requests left behind, so that lists stay as long as they are.
func (c *client) tidy() {
	for _, list := range []struct{ of, each, id string }{
		{"/v1/acl/policies", "/v1/acl/policy/", "ID"}, {"/v1/acl/roles", "/v1/acl/role/", "ID"}, {"/v1/acl/tokens", "/v1/acl/token/", "AccessorID"},
		{"/v1/acl/auth-methods", "/v1/acl/auth-method/", "Name"}, {"/v1/query", "/v1/query/", "ID"},
	} {
		var all []map[string]any
		json.Unmarshal(c.ask(get, list.of, "", root).body, &all)
		for _, one := range all {
			keep, _ := one["Description"].(string)
			name, _ := one["Name"].(string)
			if keep == "" && !slices.Contains([]string{"idp", "spare", "find"}, name) {
				c.ask(remove, list.each+one[list.id].(string), "", root)
			}
		}
	}
	var sessions []struct{ ID string }
	json.Unmarshal(c.ask(get, "/v1/session/list", "", root).body, &sessions)
	for _, s := range sessions {
		c.ask(put, "/v1/session/destroy/"+s.ID, "", root)
	}
	for _, path := range []string{"/v1/kv/app/?recurse", "/v1/skerry/owner/prog"} {
		c.ask(remove, path, "", root)
	}
	c.ask(put, "/v1/catalog/deregister", `{"Node":"far2"}`, root)
	c.ask(put, "/v1/catalog/deregister", `{"Node":"far","ServiceID":"web2"}`, root)
	c.ask(put, "/v1/catalog/deregister", `{"Node":"far","CheckID":"c2"}`, root)
}

// callers are the columns of the table. Each has the same access to all names
// with its prefix; who has the wrong one reaches nothing of what is asked for.
var callers = []struct{ name, access, prefix string }{
	{"no token", "", ""}, {"expired", "write", ""}, {"wrong prefix", "write", "other"}, {"read", "read", ""}, {"write", "write", ""},
}

func (c *client) tokens() []string {
	out := make([]string, len(callers))
	for i, caller := range callers {
		if caller.access == "" {
			continue
		}
		var rs strings.Builder
		for _, r := range []string{"agent", "event", "key", "node", "query", "service", "session"} {
			fmt.Fprintf(&rs, "%s_prefix %q { policy = %q }\n", r, caller.prefix, caller.access)
		}
		if caller.prefix == "" {
			for _, r := range []string{"acl", "keyring", "mesh", "operator", "peering"} {
				fmt.Fprintf(&rs, "%s = %q\n", r, caller.access)
			}
		}
		policy, _ := json.Marshal(map[string]string{"Name": fmt.Sprintf("caller-%d", i), "Description": "of the table", "Rules": rs.String()})
		id := c.make(put, "/v1/acl/policy", string(policy), "ID")
		ttl := ""
		if caller.name == "expired" {
			ttl = `"ExpirationTTL":"100ms",`
		}
		out[i] = c.make(put, "/v1/acl/token", `{`+ttl+`"Description":"of the table","Policies":[{"ID":"`+id+`"}]}`, "SecretID")
		if ttl != "" {
			c.awaitEnd(out[i])
		}
	}
	return out
}

// awaitEnd returns when the token has ended.
func (c *client) awaitEnd(token string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if c.ask(get, "/v1/acl/token/self", "", token).status == http.StatusForbidden {
			return
		}
	}
	c.t.Fatal("a token did not end")
}

// seen says what was answered: the status, how many things are in a list, and a
// star where the answer says that some were left out.
func (a answer) seen() string {
	out := fmt.Sprint(a.status)
	var list []any
	var object map[string]any
	text := strings.TrimSpace(string(a.body))
	switch {
	case a.status >= 300:
	case json.Unmarshal(a.body, &list) == nil && list != nil:
		out += fmt.Sprintf(" [%d]", len(list))
	case text == "null", text == "true", text == "false":
		out += " " + text
	case json.Unmarshal(a.body, &object) == nil && object != nil:
		out += " {…}"
		if len(object) == 0 {
			out = fmt.Sprint(a.status) + " {}"
		}
		for _, key := range []string{"Nodes", "Results", "Kept", "Services"} {
			if l, ok := object[key].([]any); ok {
				out += fmt.Sprintf(" %s[%d]", key, len(l))
			}
		}
	}
	if a.filtered {
		out += " *"
	}
	return out
}

func TestTable(t *testing.T) {
	c := start(t, func(*node.Config) {})
	tokens := c.tokens()
	var b bytes.Buffer
	b.WriteString(heading)
	fmt.Fprintf(&b, "| request | %s | %s | %s | %s | %s |\n|---|---|---|---|---|---|\n", callers[0].name, callers[1].name, callers[2].name, callers[3].name, callers[4].name)
	for _, one := range asks {
		row := make([]answer, len(callers))
		for i := range callers {
			ids := c.things(one.path + one.body)
			path, body := one.path, one.body
			for from, to := range ids {
				path, body = strings.ReplaceAll(path, from, to), strings.ReplaceAll(body, from, to)
			}
			row[i] = c.ask(one.method, path, body, tokens[i])
			c.tidy()
		}
		judge(t, one, row)
		shown := one.path
		if one.endpoint == "/v1/txn" {
			shown += " " + verbOf(one.body)
		}
		fmt.Fprintf(&b, "| `%s %s` |", one.method, shown)
		for _, a := range row {
			b.WriteString(" " + a.seen() + " |")
		}
		b.WriteString("\n")
	}
	if *update {
		if err := os.WriteFile(docPath, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	if want := b.String(); string(have) != want {
		t.Errorf("doc/acl.md is not what is answered: run this test with -update\n%s", difference(string(have), want))
	}
}

func verbOf(body string) string {
	m := regexp.MustCompile(`"(KV|Node|Service|Check)":\{"Verb":"(\w+)"`).FindStringSubmatch(body)
	return "(" + m[1] + " " + m[2] + ")"
}

func difference(have, want string) string {
	var out strings.Builder
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(h), len(w)) {
		if h[i] != w[i] {
			fmt.Fprintf(&out, "-%s\n+%s\n", h[i], w[i])
		}
	}
	return out.String()
}

// open are the endpoints that do not look at the token.
var open = []string{"/v1/status/leader", "/v1/status/peers", "/v1/status/ready", "/v1/acl/bootstrap", "/v1/acl/login", "/v1/skerry/follow/ack"}

// free are those that say nothing of anybody's things, or only of the asker's own.
var free = append([]string{
	"/v1/agent/version", "/v1/catalog/datacenters", "/v1/coordinate/datacenters", "/v1/connect/ca/roots", "/v1/agent/connect/ca/roots",
	"/v1/config/…", "/v1/acl/list", "/v1/acl/create", "/v1/acl/update", "/v1/acl/destroy/…", "/v1/acl/info/…", "/v1/acl/clone/…",
	"/v1/acl/rules/translate", "/v1/acl/rules/translate/…", "/v1/acl/replication", "/v1/acl/token/self", "/v1/internal/acl/authorize",
}, open...)

// judge holds an endpoint to what is true of all of them, so that -update cannot
// write a hole into the table.
func judge(t *testing.T, one ask, row []answer) {
	t.Helper()
	none, expired, wrong, read, write := row[0], row[1], row[2], row[3], row[4]
	if !slices.Contains(open, one.endpoint) && expired.status != http.StatusForbidden {
		t.Errorf("%s %s: an expired token is answered %d", one.method, one.path, expired.status)
	}
	reads := one.method == get || strings.Contains(one.body, `"get"`) || one.method == post && strings.HasPrefix(one.endpoint, "/v1/acl/templated")
	if slices.Contains(free, one.endpoint) {
		return
	}
	if !reads && one.endpoint != "/v1/acl/logout" {
		for i, a := range []answer{none, wrong, read} {
			if a.status != http.StatusForbidden && a.status != http.StatusConflict {
				t.Errorf("%s %s: caller %d, who may not write, is answered %d %s", one.method, one.path, i, a.status, a.body)
			}
		}
		if write.status == http.StatusForbidden {
			t.Errorf("%s %s: who may write is refused: %s", one.method, one.path, write.body)
		}
		return
	}
	if reads && (read.status == http.StatusForbidden) != (one.endpoint == "/v1/snapshot") {
		t.Errorf("%s %s: who may read is answered %d", one.method, one.path, read.status)
	}
	for i, a := range []answer{none, wrong} {
		for _, thing := range []string{`"far"`, `"web"`, `"app/a"`, `"api"`, `"find"`, `"n1"`} {
			if reads && a.status < 300 && bytes.Contains(a.body, []byte(thing)) && !strings.HasPrefix(one.endpoint, "/v1/skerry/explain") && !named(one, thing) {
				t.Errorf("%s %s: caller %d, who may see nothing, sees %s in %s", one.method, one.path, i, thing, a.body)
			}
		}
	}
	if none.filtered {
		t.Errorf("%s %s: who has no token is told that something was left out", one.method, one.path)
	}
}

// named reports whether the answer names the thing only because the request did.
func named(one ask, thing string) bool {
	return strings.HasSuffix(one.path, "/execute") && thing == `"web"` || strings.Contains(one.path, strings.Trim(thing, `"`)) && one.endpoint == "/v1/health/service/…"
}

// Every method of every endpoint is asked.
func TestTableIsWhole(t *testing.T) {
	doc, err := os.ReadFile(coveragePath)
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(/v1/[^`]*)` \\| ([A-Z ]+) \\|").FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 50 {
		t.Fatalf("doc/coverage.md has only %d endpoints", len(rows))
	}
	for _, row := range rows {
		for _, method := range strings.Fields(row[2]) {
			if !slices.ContainsFunc(asks, func(a ask) bool { return a.endpoint == row[1] && a.method == method }) {
				t.Errorf("nobody asks %s %s", method, row[1])
			}
		}
	}
}

const heading = `# Access control: every endpoint's answers

Made by asking a server with ` + "`default_policy = \"deny\"`" + ` (` + "`go test ./test/acl -run Table -update`" + `), and tested likewise. The columns are callers:
one without a token, one whose token (that could write everything) has expired, one that may write everything whose name
begins with ` + "`other`" + `, one that may read everything, and one that may write everything.

` + "`[2]`" + ` is a list of two, ` + "`{…}`" + ` an object; a star says that the answer carries ` + "`X-Consul-Results-Filtered-By-ACLs: true`" + `. A refusal is 403
with the permission that is missing; lists leave out entries that may not be read, without a notice for callers without a token.

`
