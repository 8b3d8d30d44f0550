package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Killed at random moments under load, the store has every acknowledged write
// after the restart, and nothing of a transaction that is only in part there.
func TestKillKeys(t *testing.T) {
	a := start(t, map[string]any{"log_level": "warn"})
	var mu sync.Mutex
	acknowledged := map[string]string{}
	for round := range kills(t) {
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for w := range 8 {
			writers.Go(func() {
				transport := &http.Transport{}
				defer transport.CloseIdleConnections()
				c := &http.Client{Transport: transport, Timeout: 5 * time.Second}
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					key := fmt.Sprintf("k/%d/%d/%d", round, w, n)
					if w%2 == 0 {
						if r, err := tryRequest(c, "PUT", "http://"+a.http+"/v1/kv/"+key, key); err != nil || r.body != "true" {
							continue
						}
						mu.Lock()
						acknowledged[key] = key
						mu.Unlock()
						continue
					}
					body := fmt.Sprintf(`[{"KV":{"Verb":"set","Key":"%s/a","Value":"YQ=="}},{"KV":{"Verb":"set","Key":"%s/b","Value":"YQ=="}}]`, key, key)
					if r, err := tryRequest(c, "PUT", "http://"+a.http+"/v1/txn", body); err != nil || r.status != http.StatusOK {
						continue
					}
					mu.Lock()
					acknowledged[key+"/a"], acknowledged[key+"/b"] = "a", "a"
					mu.Unlock()
				}
			})
		}
		lifetime := time.NewTimer(time.Duration(300+rand.IntN(500)) * time.Millisecond)
		<-lifetime.C
		a.kill()
		close(stop)
		writers.Wait()
		a.run()
		pairs, _, err := a.client().KV().List("k/", nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		there := make(map[string]string, len(pairs))
		for _, p := range pairs {
			there[p.Key] = string(p.Value)
		}
		for key, value := range acknowledged {
			if there[key] != value {
				t.Errorf("round %d: %s was acknowledged and is %q", round, key, there[key])
			}
		}
		for key := range there {
			if half, ok := strings.CutSuffix(key, "/a"); ok && there[half+"/b"] == "" {
				t.Errorf("round %d: half of a transaction is there: %s", round, key)
			}
		}
		if t.Failed() {
			return
		}
	}
	if len(acknowledged) < 20*kills(t) {
		t.Errorf("only %d writes were acknowledged: that was no load", len(acknowledged))
	}
	t.Logf("%d kills, %d acknowledged writes, none lost", kills(t), len(acknowledged))
}
