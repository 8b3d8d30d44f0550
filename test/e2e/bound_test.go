package e2e

import (
	"fmt"
	"testing"
)

// A read after the write that takes away what a session is bound to does not show the
// session, nor its lock: again and again, by every way to write it.
func TestAReadAfterTheWriteThatEndsASession(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn"})
	const node = `{"Node": "ext", "Address": "10.0.0.9", "Check": {"CheckID": "c", "Name": "c", "Status": %q}}`
	for _, way := range [][3]string{
		{"PUT", "/v1/catalog/register", fmt.Sprintf(node, "critical")},
		{"PUT", "/v1/txn", `[{"Check": {"Verb": "set", "Check": {"Node": "ext", "CheckID": "c", "Name": "c", "Status": "critical"}}}]`},
		{"PUT", "/v1/txn", `[{"Check": {"Verb": "delete", "Check": {"Node": "ext", "CheckID": "c"}}}]`},
		{"PUT", "/v1/txn", `[{"Node": {"Verb": "delete", "Node": {"Node": "ext"}}}]`},
		{"PUT", "/v1/catalog/deregister", `{"Node": "ext", "CheckID": "c"}`},
		{"PUT", "/v1/catalog/deregister", `{"Node": "ext"}`},
	} {
		for range 5 {
			a.ok("PUT", "/v1/catalog/register", fmt.Sprintf(node, "passing"))
			id := decoded[struct{ ID string }](t, a.ok("PUT", "/v1/session/create", `{"Node": "ext", "NodeChecks": ["c"], "LockDelay": "0s"}`)).ID
			if r := a.ok("PUT", "/v1/kv/bound?acquire="+id, "x"); r.body != "true" {
				t.Fatalf("lock: %s", r.body)
			}
			a.ok(way[0], way[1], way[2])
			if r := a.ok("GET", "/v1/session/info/"+id, ""); r.body != "[]" {
				t.Fatalf("after %s %s the session is there: %s", way[1], way[2], r.body)
			}
			next := decoded[struct{ ID string }](t, a.ok("PUT", "/v1/session/create", `{"NodeChecks": []}`)).ID
			if r := a.ok("PUT", "/v1/kv/bound?acquire="+next, "x"); r.body != "true" {
				t.Fatalf("after %s %s the lock is not free: %s", way[1], way[2], r.body)
			}
			a.ok("PUT", "/v1/kv/bound?release="+next, "")
			a.ok("PUT", "/v1/session/destroy/"+next, "")
		}
	}
}
