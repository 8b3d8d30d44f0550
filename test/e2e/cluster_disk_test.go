package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/hashicorp/consul/api"
)

// A server of three starts again while the others are down: it answers stale reads of keys from its
// disk, says that no leader is known, and takes no write.
func TestAServerThatStartsAloneShowsItsKeys(t *testing.T) {
	t.Parallel()
	all, _ := servers(t, 3)
	if r := all[0].request("PUT", "/v1/kv/config/limit", "7"); r.status != http.StatusOK {
		t.Fatalf("put: %d %s", r.status, r.body)
	}
	stale := &api.QueryOptions{AllowStale: true}
	shows := func(a *agent, known bool) {
		t.Helper()
		await(t, "the key", func() error {
			pair, meta, err := a.asker().KV().Get("config/limit", stale)
			if err != nil || pair == nil || string(pair.Value) != "7" || meta.KnownLeader != known {
				return fmt.Errorf("%+v, %+v, %v", pair, meta, err)
			}
			return nil
		})
	}
	for _, a := range all {
		shows(a, true)
	}
	all[2].stop() // a server that is killed may lack what was written in the last moment
	all[0].kill()
	all[1].kill()
	all[2].run()
	shows(all[2], false)
	if r := all[2].request("GET", "/v1/kv/config/limit", ""); r.status != http.StatusInternalServerError {
		t.Errorf("a consistent read: %d %s", r.status, r.body)
	}
	if r := all[2].request("PUT", "/v1/kv/config/limit", "8"); r.status != http.StatusInternalServerError {
		t.Errorf("a write: %d %s", r.status, r.body)
	}
	all[0].run()
	shows(all[2], true)
	shows(all[0], true)
}
