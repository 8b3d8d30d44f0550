package consul

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write doc/coverage.md anew")

const coveragePath = "../../doc/coverage.md"

// TestCoverageTable holds doc/coverage.md to the table of routes.
func TestCoverageTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# HTTP API coverage\n\nMade from the table of routes (`go test ./tongue/consul -run Coverage -update`).\n\n" +
		"Answered by: `agent`, the agent that is asked, of its own things; `server`, any server; `datacenter`, the servers of the datacenter that\n" +
		"`?dc=` names. Needs: what opens the endpoint as a whole; what a request names needs more ([acl.md](acl.md)). `open` endpoints do not look at the token.\n")
	for _, part := range []struct {
		kind  kind
		title string
	}{
		{served, "Answered as Consul documents it"},
		{own, "Skerry's own ([own-api.md](own-api.md))"},
		{polite, "Answered politely: there is one server and no mesh"},
		{gone, "Removed from Consul: answered with 410"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| path | methods | answered by | needs |\n|---|---|---|---|\n", part.title)
		for _, r := range routes {
			if r.kind == part.kind {
				path := r.path
				if strings.HasSuffix(path, "/") {
					path += "…"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", path, strings.Join(r.methods, " "), cmp.Or(string(r.at), "agent"), opens(&r))
			}
		}
	}
	b.WriteString("\nEvery other path is 404. `OPTIONS` names an endpoint's methods; other methods are 405.\n")
	if *update {
		if err := os.WriteFile(coveragePath, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(coveragePath)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("doc/coverage.md is not what the routes say: run this test with -update")
	}
}

// opens says what opens an endpoint.
func opens(r *route) string {
	n := r.need
	switch {
	case r.open:
		return "`open`"
	case n.resource == "":
		return ""
	case n.get == n.other || !slices.Contains(r.methods, "GET"):
		return fmt.Sprintf("%s:%s", n.resource, n.other)
	case len(r.methods) == 1:
		return fmt.Sprintf("%s:%s", n.resource, n.get)
	}
	return fmt.Sprintf("%s:%s, to change %s", n.resource, n.get, n.other)
}
