package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// decoded decodes the answer's body.
func decoded[T any](t testing.TB, r reply) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return v
}

type putAnswer struct {
	Digest  string
	Changed bool
}

func (a *agent) putOwner(id, service, ttl string) putAnswer {
	a.t.Helper()
	body := fmt.Sprintf(`{"Address": "10.2.2.2", "TTL": %q, "Services": [{"ID": %q, "Name": %q, "Port": 1}]}`, ttl, id, service)
	return decoded[putAnswer](a.t, a.ok("PUT", "/v1/skerry/owner/"+id, body))
}

func (a *agent) beat(id, digest string) string {
	a.t.Helper()
	return decoded[struct{ Answer string }](a.t, a.ok("PUT", "/v1/skerry/owner/"+id+"/beat", `{"Digest": "`+digest+`"}`)).Answer
}

func (a *agent) index(path string) uint64 {
	a.t.Helper()
	i, err := strconv.ParseUint(a.ok("GET", path, "").header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return i
}

func TestLease(t *testing.T) {
	a := start(t, nil)
	if got := a.beat("o1", "1"); got != "send it all" {
		t.Errorf("a beat of an unknown owner is answered %q", got)
	}
	first := a.putOwner("o1", "leased", "1h")
	if !first.Changed || a.beat("o1", first.Digest) != "ok" {
		t.Errorf("after the announcement %+v the beat is not ok", first)
	}
	index := a.index("/v1/health/service/leased")
	if again := a.putOwner("o1", "leased", "1h"); again.Changed || again.Digest != first.Digest {
		t.Errorf("the same set again: %+v, want no change and digest %s", again, first.Digest)
	}
	if now := a.index("/v1/health/service/leased"); now != index {
		t.Errorf("the same set again moved the index from %d to %d", index, now)
	}
	a.awaitInstances("leased", "o1 passing")

	a.kill()
	a.run()
	a.awaitInstances("leased", "o1 passing")
	if got := a.beat("o1", first.Digest); got != "ok" {
		t.Errorf("the beat after a restart is answered %q", got)
	}
	if got := a.beat("o1", "abc"); got != "send it all" {
		t.Errorf("a beat with another digest after a restart is answered %q", got)
	}
	a.ok("DELETE", "/v1/skerry/owner/o1", "")
	r := a.ok("GET", "/v1/health/service/leased", "")
	if r.body != "[]" || r.header.Get("X-Skerry-Empty-Cause") != "deregistered" {
		t.Errorf("after DELETE: %s, because %q", r.body, r.header.Get("X-Skerry-Empty-Cause"))
	}
	if r := a.request("DELETE", "/v1/skerry/owner/o1", ""); r.status != http.StatusNotFound {
		t.Errorf("DELETE of an unknown owner: %d %s", r.status, r.body)
	}
}

// One owner that falls silent is lost, and the answer says so.
func TestLeaseExpires(t *testing.T) {
	a := start(t, nil)
	a.putOwner("o1", "leased", "1s")
	a.awaitInstances("leased")
	if got := a.ok("GET", "/v1/health/service/leased", "").header.Get("X-Skerry-Empty-Cause"); got != "expired" {
		t.Errorf("the list is empty because %q, want expired", got)
	}
}

// Five owners of a service that fall silent at once are held, until an operator
// says that they are gone.
func TestGuard(t *testing.T) {
	a := start(t, nil)
	for i := range 5 {
		a.putOwner(fmt.Sprint("o", i), "leased", "2s")
	}
	await(t, "the guard", func() error {
		if held := decoded[struct{ Held int }](t, a.ok("GET", "/v1/skerry/guard", "")).Held; held != 5 {
			return fmt.Errorf("%d owners are held, want 5", held)
		}
		return nil
	})
	r := a.ok("GET", "/v1/health/service/leased?passing", "")
	if n := strings.Count(r.body, `"Service":{`); n != 5 || r.header.Get("X-Skerry-Guarded") == "" {
		t.Errorf("%d instances are served, X-Skerry-Guarded %q; want 5 and a number", n, r.header.Get("X-Skerry-Guarded"))
	}
	if e := a.ok("GET", "/v1/skerry/explain/leased", "").body; !strings.Contains(e, `"Guarded":true`) {
		t.Errorf("explain does not tell of the guard: %s", e)
	}
	released := decoded[struct{ Released []string }](t, a.ok("PUT", "/v1/skerry/guard/release", "")).Released
	if len(released) != 5 {
		t.Errorf("%v are released, want 5", released)
	}
	a.awaitInstances("leased")
	if got := a.ok("GET", "/v1/health/service/leased", "").header.Get("X-Skerry-Empty-Cause"); got != "expired" {
		t.Errorf("the list is empty because %q, want expired", got)
	}
}

func TestEmptyCauseAndExplain(t *testing.T) {
	a := start(t, nil)
	a.register(`{"ID": "web-1", "Name": "web", "Port": 80, "Tags": ["blue"], "Check": {"TTL": "1h", "CheckID": "beat"}}`)
	a.ok("PUT", "/v1/agent/check/fail/beat?note=disk+full", "")
	cause := func(path string) string {
		r := a.ok("GET", path, "")
		if r.body != "[]" {
			t.Errorf("%s is not empty: %s", path, r.body)
		}
		return r.header.Get("X-Skerry-Empty-Cause")
	}
	for path, want := range map[string]string{
		"/v1/health/service/none":           "unknown",
		"/v1/health/service/web?passing":    "filtered",
		"/v1/health/service/web?tag=green":  "filtered",
		"/v1/catalog/service/web?tag=green": "filtered",
	} {
		if got := cause(path); got != want {
			t.Errorf("%s is empty because %q, want %q", path, got, want)
		}
	}
	type explained struct {
		Cause   string
		Kept    []struct{ ID string }
		Dropped []struct {
			ID, Stage, Reason string
			Check             *struct{ CheckID, Status, Output, Since string }
		}
	}
	e := decoded[explained](t, a.ok("GET", "/v1/skerry/explain/web?passing", ""))
	if len(e.Kept) != 0 || len(e.Dropped) != 1 || e.Dropped[0].Stage != "health" || e.Dropped[0].Check == nil {
		t.Fatalf("explain says %+v", e)
	}
	if c := e.Dropped[0].Check; c.CheckID != "beat" || c.Status != "critical" || c.Output != "disk full" || c.Since == "" {
		t.Errorf("explain names the check %+v", c)
	}
	if e := decoded[explained](t, a.ok("GET", "/v1/skerry/explain/web?tag=green", "")); len(e.Dropped) != 1 || e.Dropped[0].Stage != "tag" {
		t.Errorf("explain says %+v, want the tag", e)
	}
	if e := decoded[explained](t, a.ok("GET", "/v1/skerry/explain/web", "")); len(e.Kept) != 1 || len(e.Dropped) != 0 {
		t.Errorf("explain says %+v, want the instance kept", e)
	}
	a.ok("PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=rebuild", "")
	if e := decoded[explained](t, a.ok("GET", "/v1/skerry/explain/web?passing", "")); len(e.Dropped) != 1 || e.Dropped[0].Stage != "maintenance" {
		t.Errorf("explain says %+v, want maintenance", e)
	}
}

// What is announced again changes nothing and wakes nobody.
func TestSetIsIdempotent(t *testing.T) {
	a := start(t, nil)
	const set = `{"Services": [{"ID": "web-1", "Name": "web", "Port": 80, "Check": {"TTL": "1h", "Status": "passing"}}, {"ID": "db", "Name": "db"}]}`
	changed := func(set string) bool {
		return decoded[struct{ Changed bool }](t, a.ok("PUT", "/v1/skerry/set", set)).Changed
	}
	if !changed(set) {
		t.Error("the first announcement changed nothing")
	}
	a.awaitInstances("web", "web-1 passing")
	before := [...]uint64{a.index("/v1/health/service/web"), a.index("/v1/catalog/services"), a.index("/v1/catalog/nodes")}
	if changed(set) {
		t.Error("the same set again was a change")
	}
	if after := [...]uint64{a.index("/v1/health/service/web"), a.index("/v1/catalog/services"), a.index("/v1/catalog/nodes")}; after != before {
		t.Errorf("indexes %v after the same set, %v before", after, before)
	}
	if !changed(`{"Services": [{"ID": "db", "Name": "db"}]}`) {
		t.Error("a set without web changed nothing")
	}
	a.awaitInstances("web")
	a.awaitInstances("db", "db passing")
}
