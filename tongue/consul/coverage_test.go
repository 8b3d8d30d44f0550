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

// TestCoverageTable compares doc/coverage.md with the table of routes.
func TestCoverageTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# HTTP API coverage\n\nMade from the table of routes (`go test ./tongue/consul -run Coverage -update`).\n\n" +
		"Answered by: `agent`, the agent that is asked, about itself; `server`, any server; `datacenter`, the servers of the datacenter in `?dc=`; `follower`, likewise, and an agent for services that it follows, unless the query has `near` or `consistent`.\n" +
		"Needs: the permission for the endpoint as a whole; the names in a request need more ([acl.md](acl.md)). `open` endpoints ignore the token.\n")
	for _, part := range []struct {
		kind  kind
		title string
	}{
		{served, "Answered as Consul documents it"},
		{own, "Skerry's own ([own-api.md](own-api.md))"},
		{polite, "Answered politely: there is no mesh and no gossip"},
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

// opens returns the permission for an endpoint.
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
