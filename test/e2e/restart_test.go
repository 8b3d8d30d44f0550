package e2e

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A TTL check comes back with its state and the time that it had left: neither
// critical at once nor with a TTL as if it had just been refreshed.
func TestRestartKeepsTimeLeft(t *testing.T) {
	a := start(t, nil)
	c := a.client()
	const ttl = 3 * time.Second
	a.register(`{"ID": "web", "Name": "web", "Check": {"CheckID": "beat", "TTL": "3s"}}`)
	refreshed := time.Now()
	a.ok("PUT", "/v1/agent/check/pass/beat?note=kept", "")
	half := time.NewTimer(ttl / 2)
	<-half.C
	a.kill()
	a.run()
	found, meta, err := c.Health().Service("web", "", true, nil)
	if err != nil || len(found) != 1 {
		t.Fatalf("after the restart %d instances pass, %v; want one", len(found), err)
	}
	if got := found[0].Checks[len(found[0].Checks)-1]; got.CheckID != "beat" || got.Output != "kept" {
		t.Errorf("the check is %s with output %q, want beat with %q", got.CheckID, got.Output, "kept")
	}
	for len(found) > 0 {
		if found, meta, err = c.Health().Service("web", "", true, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: patience}); err != nil {
			t.Fatal(err)
		}
	}
	if age := time.Since(refreshed); age < ttl-100*time.Millisecond || age > ttl+ttl/2-100*time.Millisecond {
		t.Errorf("critical %v after the last beat, want about %v", age, ttl)
	}
}

// An index from before a restart is answered at once, with the present state.
func TestRestartAnswersOldIndexes(t *testing.T) {
	a := start(t, nil)
	a.register(`{"ID": "web", "Name": "web"}`)
	old := a.index("/v1/health/service/web")
	a.stop()
	a.run()
	asked := time.Now()
	found, meta, err := a.client().Health().Service("web", "", false, &api.QueryOptions{WaitIndex: old, WaitTime: patience})
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if took := time.Since(asked); took > patience/2 {
		t.Errorf("the answer took %v", took)
	}
	if meta.LastIndex <= old {
		t.Errorf("the index went from %d to %d over the restart", old, meta.LastIndex)
	}
}
