package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// One bit of the store's data file is another after a stop. What is damaged is an
// error with its key and file, and the rest is served.
func TestAFlippedBitIsNotServed(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	a.key("k/0", "the value of zero")
	a.key("k/1", "the value of one")
	a.key("other", "the value of another")
	a.stop()
	file := filepath.Join(a.store(), "member", "snap", "db")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Pages that are free now may have it too.
	flipped := bytes.ReplaceAll(b, []byte("the value of one"), []byte("the value of ond"))
	if bytes.Equal(flipped, b) {
		t.Fatal("the value is not in the file")
	}
	write(t, file, string(flipped))
	a.run()

	damaged := func(what string, r reply) {
		t.Helper()
		if r.status != http.StatusInternalServerError || !strings.Contains(r.body, `"kv/k/1"`) || !strings.Contains(r.body, "quorum/member/snap/db") {
			t.Errorf("%s was answered %d %s, want 500 with the key and the file", what, r.status, r.body)
		}
	}
	kv := a.client().KV()
	await(t, "the store", func() error { _, _, err := kv.Get("k/0", nil); return err })
	damaged("the damaged key", a.request("GET", "/v1/kv/k/1", ""))
	damaged("the damaged key, raw", a.request("GET", "/v1/kv/k/1?raw", ""))
	damaged("its folder", a.request("GET", "/v1/kv/k?recurse", ""))
	damaged("its folder's keys", a.request("GET", "/v1/kv/k?keys", ""))
	damaged("a compare-and-set", a.request("PUT", "/v1/kv/k/1?cas=0", "x"))
	damaged("a transaction", a.request("PUT", "/v1/txn", `[{"KV":{"Verb":"check-not-exists","Key":"k/1"}},{"KV":{"Verb":"set","Key":"made","Value":"YQ=="}}]`))
	damaged("a snapshot", a.request("GET", "/v1/snapshot", ""))
	for path, value := range map[string]string{"/v1/kv/k/0?raw": "the value of zero", "/v1/kv/other?raw": "the value of another"} {
		if r := a.request("GET", path, ""); r.status != http.StatusOK || r.body != value {
			t.Errorf("%s: %d %q", path, r.status, r.body)
		}
	}
	if r := a.request("GET", "/v1/kv/made", ""); r.status != http.StatusNotFound {
		t.Errorf("a transaction over the damaged key was made: %d", r.status)
	}
	a.catalogGoesOn("web")
	if r := a.request("GET", "/metrics", ""); !strings.Contains(r.body, "skerry_quorum_damaged 1\n") {
		t.Error("the metric does not count it")
	}

	a.key("k/1", "anew")
	if r := a.request("GET", "/v1/kv/k/1?raw", ""); r.status != http.StatusOK || r.body != "anew" {
		t.Errorf("after it was written anew: %d %q", r.status, r.body)
	}
	if r := a.request("GET", "/v1/snapshot", ""); r.status != http.StatusOK {
		t.Errorf("a snapshot then: %d %s", r.status, r.body)
	}
	if r := a.request("GET", "/metrics", ""); !strings.Contains(r.body, "skerry_quorum_damaged 0\n") {
		t.Error("the metric still counts it")
	}
}
